"""A class of tiny tests: a process group, one all_reduce, its result checked, and the end.

BENCH_TESTS says how many tests, BENCH_RANKS on how many ranks each.
"""

import os

import torch
import torch.distributed as dist

from torch_testing_shim.common_utils import instantiate_parametrized_tests, parametrize, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


class TinyTest(DTensorTestBase):
    world_size = int(os.environ["BENCH_RANKS"])

    @with_comms
    @parametrize("number", range(int(os.environ["BENCH_TESTS"])))
    def test_all_reduce(self, number):
        tensor = torch.full((4,), float(self.rank + number))
        dist.all_reduce(tensor)
        expected = sum(rank + number for rank in range(self.world_size))
        self.assertEqual(torch.full((4,), float(expected)), tensor)


instantiate_parametrized_tests(TinyTest)
if __name__ == "__main__":
    run_tests()
