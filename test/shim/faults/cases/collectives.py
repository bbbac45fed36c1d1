"""Ranks that do not agree on their collectives, their process group or their world."""

from __future__ import annotations

import torch
import torch.distributed as dist

from faults.fault import Ending, ends
from faults.faulty import Faulty
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

#: What gloo does of data that it did not expect: the rank that gets them aborts, and its words and its line are told.
ABORTED = (
    r"rank [012] \(pid \d+\) died: killed by SIGABRT, without finishing its test$",
    r"\[rank [012]\] .*Is there a distributed collective mismatch in your code\?",
    r"\[rank [012]\]   File .*collectives.py",
)


class Mismatched(Faulty, DTensorTestBase):
    @ends(Ending.ERROR, *ABORTED)
    @with_comms
    def test_other_shape(self):
        """Rank 1 reduces a tensor of another shape."""
        self.meet()
        self.strike()
        dist.all_reduce(torch.ones(7 if self.is_guilty else 3))

    @ends(Ending.FAILED, "rank [012] failed: AssertionError: .*")
    @with_comms
    def test_other_operation(self):
        """Rank 1 reduces by another operation; gloo does not mind, and the sum is wrong."""
        self.meet()
        self.strike()
        total = torch.full((3,), float(self.rank))
        dist.all_reduce(total, op=dist.ReduceOp.PRODUCT if self.is_guilty else dist.ReduceOp.SUM)
        self.assertEqual(total, torch.full((3,), 3.0))

    @ends(Ending.ERROR, *ABORTED)
    @with_comms
    def test_other_type(self):
        """Rank 1 reduces a tensor of another type."""
        self.meet()
        self.strike()
        dist.all_reduce(torch.ones(3, dtype=torch.float64 if self.is_guilty else torch.float32))

    @ends(Ending.ERROR, "rank [012] errored: RuntimeError: .*invalid root rank: 3")
    @with_comms
    def test_root_outside_the_world(self):
        """All ranks broadcast from a rank that is not there."""
        self.meet()
        self.strike()
        dist.broadcast(torch.ones(3), src=3)


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
        group = dist.new_group([0, 2])
        self.meet()
        total = torch.ones(1)
        self.strike()
        dist.all_reduce(total, group=group)
        self.assertEqual(total, torch.tensor([2.0]))

    @ends(Ending.ERROR, "rank 1 errored: ValueError: trying to initialize the default process group twice!$")
    def test_starts_the_group_twice(self):
        """Starts the process group twice."""
        self.init_pg(False)
        self.meet()
        if self.is_guilty:
            self.strike()
            self.init_pg(False)
        dist.barrier()

    @ends(Ending.ERROR, "rank 1 errored: RuntimeError: .*rank < size. 3 vs 3$")
    def test_rank_outside_the_world(self):
        """Enters the process group as a rank that is not in it."""
        if self.is_guilty:
            self.strike()
            self.rank = 3
        self.init_pg(False)

    @ends(Ending.PASSED)
    def test_group_never_destroyed(self):
        """Leaves the process group behind."""
        self.init_pg(False)
        self.meet()
        self.strike()
