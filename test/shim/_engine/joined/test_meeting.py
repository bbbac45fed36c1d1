"""torch_testing_shim._engine.joined.meeting"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore, HashStore

from torch_testing_shim._engine.joined import meeting
from torch_testing_shim._engine.joined.meeting import Meeting, _replace_file_store
from torch_testing_shim.common_utils import TestCase, run_tests


class MeetingTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder, self.store = Path(folder.name), HashStore()
        made = FileStore.__new__
        self.addCleanup(setattr, FileStore, "__new__", made)
        self.addCleanup(meeting.MEETING.end)
        self.addCleanup(_replace_file_store.cache_clear)
        _replace_file_store.cache_clear()
        meeting.MEETING.begin(self.folder / "scratch", "test", lambda: self.store)

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
