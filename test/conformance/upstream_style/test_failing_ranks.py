"""Failures inside ranks: on one, on all, expected ones, and one that was expected and does not come."""

import unittest

import torch
import torch.distributed as dist
from torch.testing._internal.common_distributed import MultiProcessTestCase
from torch.testing._internal.common_utils import run_tests


class FailingRanksTest(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_assertion_on_one_rank(self):
        self.assertNotEqual(self.rank, 1)

    def test_assertion_on_all_ranks(self):
        self.assertEqual(torch.ones(2), torch.zeros(2))

    def test_exception_on_one_rank(self):
        if self.rank == 0:
            raise KeyError("rank 0 has lost its key")

    def test_exception_while_the_other_waits(self):
        store = dist.FileStore(self.file_name, self.world_size)
        dist.init_process_group("gloo", store=store, rank=self.rank, world_size=self.world_size)
        if self.rank == 1:
            raise RuntimeError("rank 1 does not come")
        dist.all_reduce(torch.ones(1))

    @unittest.expectedFailure
    def test_expected_on_all_ranks(self):
        self.fail("as expected")

    @unittest.expectedFailure
    def test_expected_on_one_rank(self):
        self.assertEqual(self.rank, 0)

    @unittest.expectedFailure
    def test_unexpected_success(self):
        self.assertIn(self.rank, (0, 1))

    def test_skipped_by_all_ranks(self):
        raise unittest.SkipTest("every rank says so")

    def test_skip_test_on_all_ranks(self):
        self.skipTest("every rank says so")


if __name__ == "__main__":
    run_tests()
