"""Classes that start their ranks with arguments of their own, talk to them, and judge exit codes by themselves."""

import os

import torch
from torch.testing._internal.common_distributed import MultiProcessTestCase
from torch.testing._internal.common_utils import run_tests


class OwnArguments(MultiProcessTestCase):
    @property
    def world_size(self):
        return 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def _spawn_processes(self):
        process = torch.multiprocessing.get_context("spawn").Process
        pairs = [torch.multiprocessing.Pipe() for _ in range(self.world_size)]
        self.ends = [theirs for _, theirs in pairs]
        more = iter([ours for ours, _ in pairs])

        def start(*args_, args, **kwargs):
            return process(*args_, args=(next(more), *args), **kwargs)

        self._start_processes(start)

    @classmethod
    def _run(cls, end, rank, test_name, file_name, parent_pipe, **kwargs):
        cls.end = end
        super()._run(rank, test_name, file_name, parent_pipe)

    def _join_processes(self, fn):
        fn()
        super()._join_processes(fn)

    def test_talk(self):
        if self.rank == self.MAIN_PROCESS_RANK:
            for end in self.ends:
                self.assertEqual(end.recv(), "ready")
                end.send("go")
        else:
            self.end.send("ready")
            self.assertEqual(self.end.recv(), "go")

    def test_fails(self):
        self.assertEqual(self.rank, self.MAIN_PROCESS_RANK)


class OwnExitCodes(MultiProcessTestCase):
    @property
    def world_size(self):
        return 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def _check_return_codes(self, fn, elapsed_time):
        self.assertEqual([process.exitcode for process in self.processes], [-6, 0])

    def test_as_planned(self):
        if self.rank == 0:
            os.abort()

    def test_otherwise(self):
        pass


if __name__ == "__main__":
    run_tests()
