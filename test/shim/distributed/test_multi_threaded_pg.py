"""The process group of threads: every collective's values, plain, by group and functional, and ranks that disagree."""

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
from torch.distributed import ReduceOp
from torch.distributed.distributed_c10d import _coalescing_manager

from torch_testing_shim._cases.threads import collectives
from torch_testing_shim._engine.controller import RankError
from torch_testing_shim.common_distributed import MultiThreadedTestCase, spawn_threads_and_init_comms
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed import multi_threaded_pg as pg


def full(value, size=2):
    return torch.full((size,), float(value))


class Threads(MultiThreadedTestCase):
    """Four ranks; r is this one's."""

    def setUp(self):
        super().setUp()
        self._spawn_threads()


class Collectives(Threads):
    def test_all_reduce_by_each_operator(self):
        expected = {
            ReduceOp.SUM: 10, ReduceOp.PRODUCT: 24, ReduceOp.MIN: 1, ReduceOp.MAX: 4,
            ReduceOp.BAND: 0, ReduceOp.BOR: 7, ReduceOp.BXOR: 4, ReduceOp.AVG: 2,
        }  # fmt: skip
        for op, value in expected.items():
            total = torch.tensor([self.rank + 1])
            dist.all_reduce(total, op)
            self.assertEqual(total.item(), value, str(op))
        mean = full(self.rank)
        work = dist.all_reduce(mean, ReduceOp.AVG, async_op=True)
        self.assertTrue(work.wait() and work.is_completed())
        self.assertEqual(mean, full(1.5))
        anything = torch.tensor([self.rank == 2])
        dist.all_reduce(anything)
        self.assertTrue(anything.item())

    def test_reduce_and_broadcast(self):
        total = full(self.rank)
        dist.reduce(total, dst=2)
        self.assertEqual(total, full(6 if self.rank == 2 else self.rank))
        value = full(self.rank)
        dist.broadcast(value, src=3)
        self.assertEqual(value, full(3))

    def test_gathering(self):
        outputs = [full(-1) for _ in range(4)]
        dist.all_gather(outputs, full(self.rank))
        self.assertEqual(outputs, [full(rank) for rank in range(4)])
        flat = torch.empty(8)
        dist.all_gather_into_tensor(flat, full(self.rank))
        self.assertEqual(flat, torch.arange(4.0).repeat_interleave(2))
        outputs = [full(-1) for _ in range(4)] if self.rank == 1 else None
        dist.gather(full(self.rank), outputs, dst=1)
        if self.rank == 1:
            self.assertEqual(outputs, [full(rank) for rank in range(4)])

    def test_scattering(self):
        output = full(-1)
        dist.scatter(output, [full(10 + rank) for rank in range(4)] if self.rank == 2 else None, src=2)
        self.assertEqual(output, full(10 + self.rank))
        dist.reduce_scatter(output, [full(self.rank + 10 * rank) for rank in range(4)])
        self.assertEqual(output, full(6 + 40 * self.rank))
        flat = torch.cat([full(self.rank + 10 * rank) for rank in range(4)])
        dist.reduce_scatter_tensor(output, flat, ReduceOp.AVG)
        self.assertEqual(output, full(1.5 + 10 * self.rank))

    def test_all_to_all(self):
        outputs = [full(-1) for _ in range(4)]
        dist.all_to_all(outputs, [full(10 * self.rank + rank) for rank in range(4)])
        self.assertEqual(outputs, [full(10 * rank + self.rank) for rank in range(4)])
        output = torch.empty(4)
        dist.all_to_all_single(output, torch.arange(4.0) + 10 * self.rank)
        self.assertEqual(output, torch.arange(4.0) * 10 + self.rank)
        uneven = torch.empty(4 * (self.rank + 1))
        dist.all_to_all_single(uneven, torch.arange(10.0), [self.rank + 1] * 4, [1, 2, 3, 4])
        first = sum(range(self.rank + 1))
        self.assertEqual(uneven, torch.arange(float(first), first + self.rank + 1).repeat(4))

    def test_objects(self):
        gathered = [None] * 4
        dist.all_gather_object(gathered, {"rank": self.rank, "text": "x" * self.rank})
        self.assertEqual([entry["rank"] for entry in gathered], [0, 1, 2, 3])
        values = [self.rank]
        dist.broadcast_object_list(values, src=1)
        self.assertEqual(values, [1])
        mine = [None]
        dist.scatter_object_list(mine, ["a", "b", "c", "d"] if self.rank == 0 else None, src=0)
        self.assertEqual(mine, ["abcd"[self.rank]])

    def test_coalesced(self):
        tensors = [full(self.rank), full(1, size=3)]
        with _coalescing_manager():
            for tensor in tensors:
                dist.all_reduce(tensor)
        self.assertEqual(tensors, [full(6), full(4, size=3)])
        outputs, shares = [torch.empty(8), torch.empty(4)], [full(self.rank), full(self.rank, size=1)]
        with _coalescing_manager(async_ops=True) as works:
            for output, share in zip(outputs, shares, strict=True):
                dist.all_gather_into_tensor(output, share)
        works.wait()
        self.assertEqual(outputs, [torch.arange(4.0).repeat_interleave(2), torch.arange(4.0)])
        with _coalescing_manager():
            for output, share in zip(outputs, shares, strict=True):
                dist.reduce_scatter_tensor(share, output)
        self.assertEqual(shares, [full(4 * self.rank), full(4 * self.rank, size=1)])

    def test_from_one_to_another(self):
        got, before, after = full(-1), (self.rank - 1) % 4, (self.rank + 1) % 4
        receive = dist.irecv(got, before)  # before anything was sent
        dist.isend(full(self.rank), after).wait()
        receive.wait()
        self.assertEqual(got, full(before))
        if self.rank == 0:
            dist.send(full(7), 1, tag=7)
            dist.send(full(8), 1, tag=8)
        if self.rank == 1:
            for tag in (8, 7):
                dist.recv(got, 0, tag=tag)
                self.assertEqual(got, full(tag))

    def test_functional(self):
        group = dist.group.WORLD
        value = full(self.rank, size=4)
        self.assertEqual(funcol.all_reduce(value, "sum", group), full(6, size=4))
        self.assertEqual(funcol.all_gather_tensor(value, 0, group), torch.arange(4.0).repeat_interleave(4))
        self.assertEqual(funcol.reduce_scatter_tensor(value, "sum", 0, group), full(6, size=1))
        self.assertEqual(funcol.broadcast(value, 2, group), full(2, size=4))
        exchanged = funcol.all_to_all_single(torch.arange(4.0) + 10 * self.rank, None, None, group)
        self.assertEqual(exchanged, torch.arange(4.0) * 10 + self.rank)
        self.assertEqual(value, full(self.rank, size=4))  # what went in stays

    def test_groups(self):
        low, high = dist.new_group([0, 1]), dist.new_group([2, 3])
        mine, ranks = (low, [0, 1]) if self.rank < 2 else (high, [2, 3])
        self.assertEqual(dist.get_process_group_ranks(mine), ranks)
        self.assertEqual(dist.get_rank(mine), self.rank % 2)
        total = full(self.rank)
        dist.all_reduce(total, group=mine)
        self.assertEqual(total, full(sum(ranks)))
        dist.broadcast(total, src=ranks[1], group=mine)
        dist.destroy_process_group(mine)
        dist.barrier()

    def test_a_group_that_is_made_anew(self):
        store = self.global_store
        dist.destroy_process_group()
        prefixed = dist.PrefixStore("again", store)
        dist.init_process_group("threaded", rank=self.rank, world_size=4, store=prefixed)
        dist.barrier()

    def test_autograd_does_not_notice(self):
        weight = full(1).requires_grad_()
        saved = weight * 2
        loss = (saved * saved).sum()  # keeps `saved`; a new version of it would be an error
        dist.all_reduce(saved)
        loss.backward()
        self.assertIsNone(saved._base)


class Disagreements(TestCase):
    def check(self, test, message, **arguments):
        with self.assertRaisesRegex(RankError, message) as caught:
            spawn_threads_and_init_comms(test, world_size=2, **arguments)(self)
        return str(caught.exception)

    def test_different_collectives(self):
        def test(self):
            (dist.broadcast if dist.get_rank() else dist.all_reduce)(torch.ones(4), *[0] * dist.get_rank())

        report = self.check(
            test, r"^rank \d errored: CollectiveMismatchError: ranks disagree on collective 1 of the def"
        )
        said = "rank 0 all_reduce of [4] float32 by SUM, rank 1 broadcast of [4] float32 from rank 0 of the group"
        self.assertIn(said, report)

    def test_another_order(self):
        def test(self):
            steps = [dist.barrier, lambda: dist.all_reduce(torch.ones(4))]
            for step in steps if dist.get_rank() else reversed(steps):
                step()

        self.check(
            test, r"collective 1 of the default group: rank 0 all_reduce of \[4\] float32 by SUM, rank 1 barrier"
        )

    def test_other_shapes_types_roots_and_operators(self):
        def shapes(self):
            dist.all_reduce(torch.ones(2 + dist.get_rank()))

        def types(self):
            mine = torch.ones(2, dtype=(torch.float32, torch.float64)[dist.get_rank()])
            dist.all_gather([mine.clone(), mine.clone()], mine)

        def roots(self):
            dist.broadcast(torch.ones(2), dist.get_rank())

        def operators(self):
            dist.all_reduce(torch.ones(2), (ReduceOp.SUM, ReduceOp.MAX)[dist.get_rank()])

        self.check(shapes, r"rank 0 all_reduce of \[2\] float32 by SUM, rank 1 all_reduce of \[3\] float32 by SUM")
        self.check(types, r"rank 0 all_gather of \[2\] float32, rank 1 all_gather of \[2\] float64")
        self.check(roots, r"from rank 0 of the group, rank 1 broadcast of \[2\] float32 from rank 1 of the group")
        self.check(operators, r"by SUM, rank 1 all_reduce of \[2\] float32 by MAX")

    def test_a_collective_that_cannot_be_done(self):
        def test(self):
            dist.all_to_all_single(torch.empty(4), torch.empty(4), [1, 1], [2, 2])

        report = self.check(test, r"errored: ValueError: splits \[1, 1\] do not add up to the 4 rows")
        self.assertRegex(report, r"rank \d lost its connection to rank \d")

    def test_nobody_sends(self):
        def test(self):
            dist.recv(torch.empty(1), 1 - dist.get_rank())

        self.check(test, r"deadlock: ranks 0, 1 in recv \(test_multi_threaded_pg")


class Names(TestCase):
    """Without ranks."""

    def test_operator_that_is_not_known(self):
        with self.assertRaisesRegex(NotImplementedError, "cannot reduce by"):
            collectives.all_reduce(ReduceOp.PREMUL_SUM, [[full(1)], [full(2)]])

    def test_upstreams_names_for_the_arithmetic_alone(self):
        tensors = [torch.tensor([1, 6]), torch.tensor([3, 4])]
        self.assertEqual(pg.binop_reduce(tensors, torch.max), torch.tensor([3, 6]))
        pg.Broadcast(1).work([[(given := full(0))], [full(5)]])
        self.assertEqual(given, full(5))

    def test_the_backend_is_for_threads_alone(self):
        with self.assertRaisesRegex(RuntimeError, "for tests whose ranks are threads"):
            pg.ProcessLocalGroup(0, 1)
        world = pg._install_threaded_pg()
        try:
            self.assertIs(world, dist.distributed_c10d._world)
            self.assertEqual("0", pg.ProcessLocalGroup(0, 1).pg_name)
        finally:
            pg._uninstall_threaded_pg()
        self.assertIsNot(world, dist.distributed_c10d._world)


if __name__ == "__main__":
    run_tests()
