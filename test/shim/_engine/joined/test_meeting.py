"""torch_testing_shim._engine.joined.meeting"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore, HashStore, Store, TCPStore

from torch_testing_shim._engine.joined import meeting
from torch_testing_shim._engine.joined.meeting import Meeting, _replace_file_store
from torch_testing_shim.common_utils import TestCase, run_tests


class MeetingTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder, self.store, self.opened = Path(folder.name), HashStore(), 0
        made = FileStore.__new__
        self.addCleanup(setattr, FileStore, "__new__", made)
        self.addCleanup(meeting.MEETING.end)
        self.addCleanup(_replace_file_store.cache_clear)
        _replace_file_store.cache_clear()
        self.open(self.connect)
        self.begin()

    def open(self, connect: Callable[[], Store]) -> None:
        meeting.MEETING.open(connect)
        self.addCleanup(lambda: meeting.MEETING._connection.close())

    def connect(self) -> HashStore:
        self.opened += 1
        return self.store

    def begin(self) -> None:
        meeting.MEETING.begin(self.folder / "scratch", "test")

    def test_tests_share_a_connection(self) -> None:
        for seconds in (1, 2):
            store = FileStore(str(self.folder / "scratch" / "rendezvous"), 1)
            self.assertEqual(timedelta(seconds=30), self.store.timeout)
            store.set_timeout(timedelta(seconds=seconds))
            meeting.MEETING.end()
            self.begin()
        self.assertEqual(1, self.opened)

    def test_a_connection_that_a_test_has_left_a_thread_in_is_made_anew(self) -> None:
        server = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
        self.open(lambda: TCPStore("localhost", server.port, wait_for_workers=False))
        path = str(self.folder / "scratch" / "rendezvous")
        waiting = threading.Thread(target=FileStore(path, 1).get, args=["missing"])
        waiting.start()
        self.addCleanup(waiting.join)
        self.addCleanup(server.set, "test/rendezvous/missing", "")
        time.sleep(0.1)  # until it waits
        meeting.MEETING.end()
        self.begin()
        began = time.monotonic()
        FileStore(path, 1).set("a", "1")
        self.assertLess(time.monotonic() - began, 5.0)
        self.assertEqual(b"1", server.get("test/rendezvous/a"))

    def test_a_file_of_the_scratch_folder_is_a_part_of_the_store(self) -> None:
        found = FileStore(str(self.folder / "scratch" / "rendezvous"), 1)
        self.assertIsInstance(found, dist.PrefixStore)
        found.set("a", "1")
        self.assertEqual(b"1", self.store.get("test/rendezvous/a"))

    def test_another_file_is_a_file_and_so_are_all_after_the_test(self) -> None:
        other, inner = str(self.folder / "other"), str(self.folder / "scratch")
        self.assertIsInstance(FileStore(other, 1), FileStore)
        meeting.MEETING.end()
        self.assertIsInstance(FileStore(inner, 1), FileStore)
        self.assertIsNone(Meeting().store_for(other))

    def test_a_process_group_meets_there_by_a_url(self) -> None:
        url = f"file://{self.folder / 'scratch' / 'rendezvous'}"
        dist.init_process_group("gloo", init_method=url, rank=0, world_size=1)
        self.addCleanup(dist.destroy_process_group)
        dist.all_reduce(torch.ones(1))
        self.assertEqual([], list(self.folder.iterdir()))


if __name__ == "__main__":
    run_tests()
