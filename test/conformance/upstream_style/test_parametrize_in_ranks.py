"""parametrize over tests with ranks, in any order among other decorators."""

import torch
import torch.distributed as dist
from torch.testing._internal.common_distributed import skip_if_lt_x_gpu
from torch.testing._internal.common_utils import instantiate_parametrized_tests, parametrize, run_tests, subtest
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


class RankParametrizeTest(DTensorTestBase):
    world_size = 2

    @with_comms
    @parametrize("op", [dist.ReduceOp.SUM, dist.ReduceOp.MAX], name_fn=lambda op: str(op).rpartition(".")[2].lower())
    def test_inside_comms(self, op):
        tensor = torch.tensor([float(self.rank + 1)])
        dist.all_reduce(tensor, op)
        self.assertEqual(tensor.item(), 3.0 if op == dist.ReduceOp.SUM else 2.0)

    @parametrize("async_op", [True, False])
    @with_comms
    def test_outside_comms(self, async_op):
        tensor = torch.full((2,), float(self.rank))
        work = dist.broadcast(tensor, src=1, async_op=async_op)
        if async_op:
            work.wait()
        self.assertEqual(tensor, torch.ones(2))

    @parametrize("size", [1, subtest(3, name="three", decorators=[skip_if_lt_x_gpu(2)])])
    @with_comms
    def test_decorated(self, size):
        self.assertEqual(torch.zeros(size).numel(), 1)


instantiate_parametrized_tests(RankParametrizeTest)

if __name__ == "__main__":
    run_tests()
