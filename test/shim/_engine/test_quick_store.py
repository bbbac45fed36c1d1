"""A gloo backend whose ranks meet in a file learns at once that the others have come, and changes nothing else."""

import os
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path
from unittest import mock

import torch.distributed as dist

from torch_testing_shim._engine import quick_store
from torch_testing_shim._engine.quick_store import QuickStore
from torch_testing_shim.common_distributed import MultiProcessTestCase
from torch_testing_shim.common_utils import TestCase, run_tests


class InOneProcess(TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = str(Path(folder.name) / "store")
        self.inner = mock.Mock(wraps=dist.FileStore(self.path, 1))
        self.inner.get.side_effect = lambda key: self.asked_for_what_is_there([key])
        self.inner.wait.side_effect = lambda keys, *_: self.asked_for_what_is_there(keys)
        self.store = QuickStore(self.inner, self.path)

    def asked_for_what_is_there(self, keys):
        self.assertTrue(self.inner.check(keys))
        return mock.DEFAULT

    def test_torchs_store_is_asked_for_a_key_once_it_is_there(self):
        def come():
            time.sleep(0.03)
            dist.FileStore(self.path, 1).set("rank", "here")

        for ask in (self.store.get, lambda key: self.store.wait([key], timedelta(seconds=1))):
            with self.subTest(ask):
                other = threading.Thread(target=come)
                other.start()
                found = ask("rank")
                other.join()
                self.assertIn(found, (b"here", None))

    def test_a_key_that_does_not_come_is_left_to_torchs_store(self):
        for call in (self.inner.get, self.inner.wait):
            call.side_effect = None
        with self.assertRaisesRegex(RuntimeError, "[Tt]imeout"):
            self.store.wait(["rank"], timedelta(milliseconds=20))

    def test_a_file_that_is_gone_is_left_to_torchs_store(self):
        self.store.set("rank", "here")
        os.unlink(self.path)
        self.inner.get.side_effect = None
        self.inner.get.return_value = b"torch's answer"
        self.assertEqual(b"torch's answer", self.store.get("other"))


class InRanks(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def meet(self, asked):
        keys, get = [], QuickStore.get
        noting = lambda store, key: keys.append(key) or get(store, key)  # noqa: E731
        with mock.patch.object(QuickStore, "get", noting):
            dist.init_process_group("gloo", rank=self.rank, world_size=2, init_method=f"file://{self.file_name}")
            dist.barrier()
        self.assertEqual(asked, bool(keys))

    def wait_until(self, condition):
        end = time.monotonic() + 30
        while not condition():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def test_a_group_of_gloo_asks_it_and_leaves_the_file_to_the_next(self):
        for number in range(2):
            self.meet(asked=True)
            self.assertIs(dist.PrefixStore, type(dist.distributed_c10d._get_default_store()))
            dist.barrier()
            dist.destroy_process_group()
            self.wait_until(lambda: not os.path.exists(self.file_name))  # torch removes it once both have gone
            marks = [Path(f"{self.file_name}.{number}.{rank}") for rank in range(2)]
            marks[self.rank].touch()
            self.wait_until(lambda marks=marks: all(mark.exists() for mark in marks))

    def test_a_group_of_more_ranks_than_it_serves_does_not(self):
        with mock.patch.object(quick_store, "_MOST_RANKS", 1):
            self.meet(asked=False)

    def test_a_group_that_connects_later_does_not(self):
        with mock.patch.dict(os.environ, {"TORCH_GLOO_LAZY_INIT": "1"}):
            self.meet(asked=False)
            dist.barrier()
            dist.destroy_process_group()


if __name__ == "__main__":
    run_tests()
