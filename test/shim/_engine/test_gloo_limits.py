"""Collectives that gloo lacks and other backends have, with real ranks: made of those that gloo has."""

import unittest

import torch
import torch.distributed as dist

from torch_testing_shim._engine.gloo_limits import make_up_for_gloo
from torch_testing_shim.common_utils import instantiate_parametrized_tests, parametrize, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorContinuousTestBase

RANKS = 3
FLOAT8 = [torch.float8_e4m3fn, torch.float8_e5m2]

needs_reductions = unittest.skipUnless(
    hasattr(torch.classes.c10d.ReduceOp(), "op"), "kernels of this torch learn no reduction, and gloo does not know all"
)


def of_float8(values, dtype):
    return torch.tensor(values, dtype=torch.float32).to(dtype)


class GlooLimits(DTensorContinuousTestBase):
    world_size = RANKS

    @classmethod
    def _init_pg(cls, *args, **kwargs):
        make_up_for_gloo()  # in a rank
        super()._init_pg(*args, **kwargs)

    @classmethod
    def backend_str(cls):
        return "gloo"

    device_type = "cpu"

    def sent(self, sizes, dtype=torch.float32):
        """The tensors that this rank sends each and gets of each, of sizes[from][to] elements."""
        mine = [torch.full((size,), float(self.rank)).to(dtype) for size in sizes[self.rank]]
        return mine, [torch.empty(sizes[peer][self.rank], dtype=dtype) for peer in range(RANKS)]

    @parametrize("dtype", [torch.float32, torch.int16, *FLOAT8])
    def test_all_to_all_of_other_sizes(self, dtype):
        sizes = [[1, 0, 2], [2, 2, 0], [3, 1, 1]]
        for is_async in (False, True):
            mine, got = self.sent(sizes, dtype)
            work = dist.all_to_all(got, mine, async_op=is_async)
            if is_async:
                work.wait()
            for peer, each in enumerate(got):
                self.assertEqual(each.float(), torch.full((sizes[peer][self.rank],), float(peer)))

    def test_all_gather_of_other_sizes(self):
        got = [torch.empty(peer + 1, 2) for peer in range(RANKS)]
        dist.all_gather(got, torch.full((self.rank + 1, 2), float(self.rank)))
        for peer, each in enumerate(got):
            self.assertEqual(each, torch.full((peer + 1, 2), float(peer)))

    @needs_reductions
    @parametrize("dtype", FLOAT8)
    def test_float8(self, dtype):
        mine = of_float8([self.rank, 2.0], dtype)
        dist.all_reduce(mine)
        self.assertEqual([3.0, 6.0], mine.tolist())
        dist.broadcast(mine.fill_(self.rank), 2)
        self.assertEqual([2.0, 2.0], mine.tolist())
        got = [torch.empty(1, dtype=dtype) for _ in range(RANKS)]
        dist.all_gather(got, of_float8([self.rank], dtype))
        self.assertEqual([0.0, 1.0, 2.0], [each.item() for each in got])
        whole = of_float8([1.0, 2.0, 4.0], dtype)
        dist.reduce_scatter(mine[:1], list(whole.split(1)))
        self.assertEqual([3.0, 6.0, 12.0][self.rank], mine[0].item())
        self.assertEqual([1.0, 2.0, 4.0], whole.tolist())
        dist.gather(mine[:1], got if self.rank == 0 else None)
        dist.scatter(mine[1:], got if self.rank == 0 else None)
        self.assertEqual([3.0, 6.0, 12.0][self.rank], mine[1].item())

    def test_a_sum_of_products(self):
        factor = dist._make_nccl_premul_sum(2.0)
        mine = torch.full((2,), float(self.rank))
        dist.all_reduce(mine, factor)
        self.assertEqual([6.0, 6.0], mine.tolist())

    @needs_reductions
    def test_a_scattered_sum_of_products(self):
        whole, part = torch.arange(3.0), torch.empty(1)
        dist.reduce_scatter(part, list(whole.split(1)), op=dist._make_nccl_premul_sum(torch.tensor([0.5])))
        self.assertEqual(1.5 * self.rank, part.item())
        self.assertEqual([0.0, 1.0, 2.0], whole.tolist())

    @needs_reductions
    def test_shapes_and_averages(self):
        whole, part = torch.empty(RANKS, 2), torch.empty(2)
        dist.all_gather_into_tensor(whole, torch.full((2,), float(self.rank)))
        self.assertEqual([[0.0] * 2, [1.0] * 2, [2.0] * 2], whole.tolist())
        dist.reduce_scatter_tensor(part, whole)
        self.assertEqual([3.0 * self.rank] * 2, part.tolist())
        counts = torch.tensor([1 + 3 * self.rank])
        dist.all_reduce(counts, dist.ReduceOp.AVG)
        self.assertEqual([4], counts.tolist())

    def test_messages_to_itself(self):
        for is_received_first in (False, True):
            got, sent = torch.empty(2), torch.full((2,), 7.0)
            calls = [dist.P2POp(dist.isend, sent, self.rank), dist.P2POp(dist.irecv, got, self.rank)]
            works = dist.batch_isend_irecv(calls[::-1] if is_received_first else calls)
            sent.zero_()
            for work in works:
                work.wait()
            self.assertEqual([7.0, 7.0], got.tolist())

    def test_messages_to_others(self):
        got = torch.empty(1)
        works = [
            dist.isend(torch.tensor([float(self.rank)]), (self.rank + 1) % RANKS),
            dist.irecv(got, (self.rank - 1) % RANKS),
        ]
        for work in works:
            work.wait()
        self.assertEqual((self.rank - 1) % RANKS, got.item())

    @needs_reductions
    def test_what_gloo_can_stays(self):
        mine = torch.ones(2, dtype=torch.bfloat16)
        dist.all_reduce(mine, dist.ReduceOp.AVG)
        self.assertEqual([1.0, 1.0], mine.tolist())
        dist.reduce(mine, 1)
        self.assertEqual(3.0 if self.rank == 1 else mine[0].item(), mine[0].item())
        ones = [torch.ones(1), torch.ones(2)]
        with dist.distributed_c10d._coalescing_manager():
            for each in ones:
                dist.all_reduce(each)
        self.assertEqual([[3.0], [3.0, 3.0]], [each.tolist() for each in ones])
        turned = torch.empty(RANKS)
        dist.all_to_all_single(turned, torch.full((RANKS,), float(self.rank)))
        self.assertEqual([0.0, 1.0, 2.0], turned.tolist())
        from torch.distributed._functional_collectives import all_gather_tensor, all_reduce

        self.assertEqual(
            [0.0, 1.0, 2.0], all_gather_tensor(torch.tensor([float(self.rank)]), 0, dist.group.WORLD).tolist()
        )
        self.assertEqual(3.0, all_reduce(torch.ones(1), "sum", dist.group.WORLD).item())

    @needs_reductions
    def test_works_are_torchs_own_where_nothing_is_copied(self):
        """C++ waits more than once for a work of several tensors, and asks one for its list of tensors."""
        from torch.distributed._functional_collectives import all_reduce_coalesced

        summed = all_reduce_coalesced([torch.ones(1), torch.ones(2)], "sum", dist.group.WORLD)
        self.assertEqual([[3.0], [3.0, 3.0]], [each.tolist() for each in summed])
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))
        model._register_builtin_comm_hook(dist.BuiltinCommHookType.FP16_COMPRESS)
        model(torch.full((1, 2), float(self.rank))).sum().backward()
        self.assertEqual([[1.0, 1.0]], model.module.weight.grad.tolist())

    def test_many_after_another(self):
        sizes = [[1, 0, 2], [2, 2, 0], [3, 1, 1]]
        for _ in range(100):
            mine, got = self.sent(sizes)
            dist.all_to_all(got, mine)
            dist.all_reduce(torch.ones(3))


instantiate_parametrized_tests(GlooLimits)
if __name__ == "__main__":
    run_tests()
