"""Ranks that do not agree on their collectives, their process group or their world."""

from __future__ import annotations

import re
from datetime import timedelta

import torch
import torch.distributed as dist

from faults.fault import Ending, ends
from faults.faulty import GUILTY, RANKS, Faulty
from faults.machine import why_no_later_timeout, why_no_reductions
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

DIED = r"rank [012] \(pid \d+\) died: killed by SIGABRT, without finishing its test$"
TIME_WAS_UP = "rank [012] errored: RuntimeError: .*(Timed out waiting 1000ms for (recv|send)|Connection closed by peer)"


def entered(guilty, others, then=DIED):
    """The report leads with what rank 1 entered, whichever rank came to harm by it."""
    guilty, others = (re.escape(text) for text in (guilty, others))
    return rf"rank 1 entered {guilty} as collective 2 of the default group, ranks 0, 2 entered {others}; {then}"


#: What gloo does of data that it did not expect: the rank that gets them aborts, and its words and its line are told.
ABORTED = (
    r"\[rank [012]\] .*(Is there a distributed collective mismatch in your code\?|enforce fail at .*op\.preamble)",
    r"\[rank [012]\]   File .*collectives.py",
    r"collective 2 of the default group:\n",
)


class Mismatched(Faulty, DTensorTestBase):
    def start(self):
        """Returns how many elements this rank brings."""
        self.meet()
        self.strike()
        return 7 if self.is_guilty else 3

    @ends(Ending.ERROR, entered("all_reduce of [7]", "all_reduce of [3]"), *ABORTED)
    @with_comms
    def test_other_shape(self):
        """Rank 1 reduces a tensor of another shape."""
        dist.all_reduce(torch.ones(self.start()))

    @ends(Ending.ERROR, entered("all_gather of [7]", "all_gather of [3]"), *ABORTED)
    @with_comms
    def test_other_shape_to_gather(self):
        """Rank 1 gathers tensors of another shape."""
        size = self.start()
        dist.all_gather([torch.ones(size) for _ in range(RANKS)], torch.ones(size))

    @ends(Ending.ERROR, entered("reduce_scatter of [7]", "reduce_scatter of [3]"), *ABORTED, needs=why_no_reductions)
    @with_comms
    def test_other_shape_to_scatter(self):
        """Rank 1 reduces and scatters tensors of another shape."""
        size = self.start()
        dist.reduce_scatter(torch.ones(size), [torch.ones(size) for _ in range(RANKS)])

    @ends(Ending.ERROR, entered("all_reduce of [7]", "all_reduce of [3]"), ABORTED[0])
    @with_comms
    def test_other_shape_from_cpp(self):
        """Rank 1 reduces a tensor of another shape by a functional collective, as DTensor does."""
        operators = torch.ops._c10d_functional
        operators.wait_tensor(operators.all_reduce(torch.ones(self.start()), "sum", dist.group.WORLD.group_name))

    @ends(
        Ending.FAILED,
        "rank [012] failed: AssertionError: .*",
        r"ranks 0, 2 entered all_reduce \(SUM\) of \[3\]",
        r"rank 1 entered all_reduce \(PRODUCT\) of \[3\]",
        needs=why_no_reductions,
    )
    @with_comms
    def test_other_operation(self):
        """Rank 1 reduces by another operation; gloo does not mind, and the sum is wrong."""
        self.meet()
        self.strike()
        total = torch.full((3,), float(self.rank))
        dist.all_reduce(total, op=dist.ReduceOp.PRODUCT if self.is_guilty else dist.ReduceOp.SUM)
        self.assertEqual(total, torch.full((3,), float(sum(range(RANKS)))))

    @ends(Ending.ERROR, entered("all_reduce of [3] float64", "all_reduce of [3] float32"), *ABORTED)
    @with_comms
    def test_other_type(self):
        """Rank 1 reduces a tensor of another type."""
        self.meet()
        self.strike()
        dist.all_reduce(torch.ones(3, dtype=torch.float64 if self.is_guilty else torch.float32))

    @ends(Ending.ERROR, r"rank [012] errored: RuntimeError: .*invalid root rank: \d")
    @with_comms
    def test_root_outside_the_world(self):
        """All ranks broadcast from a rank that is not there."""
        self.meet()
        self.strike()
        dist.broadcast(torch.ones(3), src=RANKS)


class InTime(Faulty, DTensorTestBase):
    """In process groups whose time is up long before the test's."""

    def start(self):
        self.meet()
        dist.distributed_c10d._set_pg_timeout(timedelta(seconds=1))
        self.strike()

    @ends(Ending.ERROR, entered("all_gather of [3]", "all_reduce of [3]", TIME_WAS_UP), needs=why_no_later_timeout)
    @with_comms
    def test_other_collective_in_time(self):
        """Rank 1 enters another collective than the others, until their time is up."""
        self.start()
        if self.is_guilty:
            dist.all_gather([torch.ones(3) for _ in range(RANKS)], torch.ones(3))
        else:
            dist.all_reduce(torch.ones(3))

    @ends(Ending.ERROR, entered("barrier", "all_reduce of [3]", TIME_WAS_UP), needs=why_no_later_timeout)
    @with_comms
    def test_closing_barrier_in_time(self):
        """Rank 1 goes to the barrier at the test's end without the collective that the others wait in."""
        self.start()
        if not self.is_guilty:
            dist.all_reduce(torch.ones(3))


class Groups(Faulty, DTensorTestBase):
    @ends(Ending.ERROR, "rank 1 errored: ValueError: Default process group has not been initialized")
    @with_comms
    def test_destroys_the_group_early(self):
        """Destroys the process group and goes on."""
        self.meet()
        if self.is_guilty:
            dist.destroy_process_group()
            self.strike()
        dist.barrier()

    @ends(Ending.ERROR, "rank 1 errored: ValueError: Default process group has not been initialized")
    @with_comms
    def test_group_destroyed_before_its_end(self):
        """Destroys the process group at the end of its test, which others still need to leave it."""
        self.meet()
        if self.is_guilty:
            self.strike()
            dist.destroy_process_group()

    @ends(Ending.ERROR, "rank 1 errored: ValueError: boom$")
    @with_comms
    def test_destroys_the_group_and_raises(self):
        """Destroys the process group, and raises."""
        self.meet()
        if self.is_guilty:
            dist.destroy_process_group()
            self.strike()
            raise ValueError("boom")
        dist.barrier()

    @ends(Ending.FAILED, "rank 1 failed: AssertionError: ")
    @with_comms
    def test_group_of_others(self):
        """Uses a group that it does not belong to, which torch passes over."""
        others = [rank for rank in range(RANKS) if rank != GUILTY]
        group = dist.new_group(others)
        self.meet()
        total = torch.ones(1)
        self.strike()
        dist.all_reduce(total, group=group)
        self.assertEqual(total, torch.tensor([float(len(others))]))

    @ends(Ending.ERROR, "rank 1 errored: ValueError: trying to initialize the default process group twice!$")
    def test_starts_the_group_twice(self):
        """Starts the process group twice."""
        self.init_pg(False)
        self.meet()
        if self.is_guilty:
            self.strike()
            self.init_pg(False)
        dist.barrier()

    @ends(Ending.ERROR, "rank 1 errored: RuntimeError: .*rank < size. (3 vs 3|4 vs 4)$")
    def test_rank_outside_the_world(self):
        """Enters the process group as a rank that is not in it."""
        if self.is_guilty:
            self.strike()
            self.rank = RANKS
        self.init_pg(False)

    @ends(Ending.PASSED)
    def test_group_never_destroyed(self):
        """Leaves the process group behind."""
        self.init_pg(False)
        self.meet()
        self.strike()
