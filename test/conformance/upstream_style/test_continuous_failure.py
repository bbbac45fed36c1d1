"""MultiProcContinuousTest: a test that fails, and those that come after it."""

import torch
import torch.distributed as dist
from torch.testing._internal.common_distributed import MultiProcContinuousTest
from torch.testing._internal.common_utils import run_tests


class FailureTest(MultiProcContinuousTest):
    world_size = 2

    @classmethod
    def backend_str(cls):
        return "gloo"

    def test_a_passes(self):
        self.assertEqual(dist.get_world_size(), 2)

    def test_b_fails(self):
        self.assertEqual(self.rank, "not a rank")

    def test_c_has_nothing_wrong(self):
        ones = torch.ones(1)
        dist.all_reduce(ones)
        self.assertEqual(ones.item(), 2)


class AnotherTest(MultiProcContinuousTest):
    world_size = 2

    @classmethod
    def backend_str(cls):
        return "gloo"

    def test_other_classes_go_on(self):
        self.assertEqual(dist.get_world_size(), 2)


if __name__ == "__main__":
    run_tests()
