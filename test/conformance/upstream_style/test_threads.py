"""MultiThreadedTestCase: ranks as threads, their set-up, checks on one rank, failures and skips."""

import unittest

import torch
import torch.distributed as dist
from torch.testing._internal.common_distributed import MultiThreadedTestCase
from torch.testing._internal.common_utils import instantiate_parametrized_tests, parametrize, run_tests


class ThreadsTest(MultiThreadedTestCase):
    @property
    def world_size(self):
        return 3

    def setUp(self):
        super().setUp()
        self._spawn_threads()

    def perThreadSetUp(self):
        super().perThreadSetUp()
        self.prepared = self.rank + 10

    def test_set_up_of_each_thread(self):
        self.assertEqual(self.prepared, dist.get_rank() + 10)

    @parametrize("root", [0, 2])
    def test_broadcast(self, root):
        tensor = torch.full((2,), float(self.rank))
        dist.broadcast(tensor, root)
        self.assertEqual(tensor, torch.full((2,), float(root)))

    def test_gather_on_one_rank(self):
        parts = [torch.empty(1) for _ in range(3)]
        dist.all_gather(parts, torch.ones(1) * self.rank)
        self.assertEqualOnRank(torch.cat(parts), torch.arange(3.0))
        self.assertNotEqualOnRank(torch.cat(parts), torch.zeros(3), rank=1)

    def test_check_of_one_rank_fails(self):
        self.assertEqualOnRank(self.rank, 7, rank=2)

    def test_exception_on_one_rank(self):
        if self.rank == 1:
            raise ValueError("thread 1 has had enough")
        dist.barrier()

    def test_skipped_by_all(self):
        raise unittest.SkipTest("every thread says so")

    @unittest.expectedFailure
    def test_expected_failure(self):
        self.assertEqual(self.rank, 0)


instantiate_parametrized_tests(ThreadsTest)

if __name__ == "__main__":
    run_tests()
