"""A class that overrides _run: the rank's own set-up, a process group for every test, and what comes after it."""

import os

import torch
import torch.distributed as dist
from torch.testing._internal.common_distributed import MultiProcessTestCase
from torch.testing._internal.common_utils import FILE_SCHEMA, run_tests


class OwnRunTest(MultiProcessTestCase):
    @property
    def world_size(self):
        return 2

    @property
    def init_method(self):
        return f"{FILE_SCHEMA}{self.file_name}"

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    @classmethod
    def _run(cls, rank, test_name, file_name, parent_pipe, **kwargs):
        self = cls(test_name)
        self.rank = rank
        self.file_name = file_name
        os.environ["SAMPLE_RANK"] = str(rank)
        dist.init_process_group("gloo", init_method=self.init_method, world_size=self.world_size, rank=rank)
        dist.barrier()
        self.run_test(test_name, parent_pipe)
        dist.barrier()
        dist.destroy_process_group()

    @property
    def destroy_pg_upon_exit(self):
        return False

    def test_group_is_there(self):
        self.assertTrue(dist.is_initialized())
        total = torch.ones(1)
        dist.all_reduce(total)
        self.assertEqual(total.item(), 2)

    def test_environment(self):
        self.assertEqual(os.environ["SAMPLE_RANK"], str(self.rank))
        self.assertEqual(dist.get_rank(), self.rank)

    def test_fails(self):
        self.assertEqual(os.environ["SAMPLE_RANK"], "no rank")


class OwnKeywordsTest(OwnRunTest):
    """The same for another class; its ranks are told which name their test has."""

    @classmethod
    def _run(cls, rank, test_name, file_name, parent_pipe, **kwargs):
        cls.told = test_name
        super()._run(rank, test_name, file_name, parent_pipe, **kwargs)

    def test_environment(self):
        self.assertEqual(self.told, "test_environment")

    test_fails = None


if __name__ == "__main__":
    run_tests()
