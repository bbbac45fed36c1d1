"""All ranks wait for each other: told before the deadline, since nothing can come of it."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as distributed_functions
from torch.distributed import _functional_collectives as functional_collectives
from torch.nn.parallel import DistributedDataParallel

from faults.fault import Ending, ends
from faults.faulty import RANKS, Faulty
from faults.machine import why_no_recorder
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


class Deadlocks(Faulty, DTensorTestBase):
    @ends(Ending.ERROR, r"deadlock: ranks 0, 1 in recv \(.*\), rank 2 in barrier \(dtensor.py", deadlock=True)
    @with_comms
    def test_send_and_recv(self):
        """Two ranks wait to receive what the other has not sent yet."""
        self.meet()
        self.strike()
        if self.rank < 2:
            dist.recv(torch.ones(3), src=1 - self.rank)
            dist.send(torch.ones(3), dst=1 - self.rank)

    @ends(
        Ending.ERROR,
        r"deadlock: ranks 0, 2 in all_reduce \(.*\), rank 1 in all_gather \(",
        "ranks 0, 2 entered all_reduce",
        "rank 1 entered all_gather",
        deadlock=True,
    )
    @with_comms
    def test_different_collectives(self):
        """Rank 1 enters another collective than the others."""
        self.meet()
        self.strike()
        if self.is_guilty:
            dist.all_gather([torch.ones(3) for _ in range(RANKS)], torch.ones(3))
        else:
            dist.all_reduce(torch.ones(3))

    @ends(
        Ending.ERROR,
        r"rank 1 was still handling ValueError: the cause; deadlock: ranks 0, 2 in all_reduce \(",
        "rank 1 was still handling this when stopped:\nTraceback",
        deadlock=True,
    )
    @with_comms
    def test_raises_and_waits(self):
        """Rank 1 raises, and waits for the others in a `finally`."""
        self.meet()
        self.strike()
        try:
            if self.is_guilty:
                raise ValueError("the cause")
            dist.all_reduce(torch.ones(3))
        finally:
            dist.barrier()

    @ends(Ending.ERROR, r"deadlock: ", "rank 1 entered broadcast", deadlock=True)
    @with_comms
    def test_different_order(self):
        """Rank 1 enters the same two collectives the other way round."""
        self.meet()
        self.strike()
        steps = [lambda: dist.all_reduce(torch.ones(3)), lambda: dist.broadcast(torch.ones(3), src=1)]
        for step in reversed(steps) if self.is_guilty else steps:
            step()

    @ends(Ending.ERROR, r"deadlock: ", deadlock=True)
    @with_comms
    def test_different_count(self):
        """Rank 1 enters one collective more than the others."""
        self.meet()
        self.strike()
        for _ in range(2 if self.is_guilty else 1):
            dist.all_gather([torch.ones(3) for _ in range(RANKS)], torch.ones(3))

    @ends(
        Ending.ERROR,
        r"deadlock: ranks 0, 2 in all_reduce \(.*\), rank 1 in barrier \(dtensor.py",
        "rank 1 entered barrier",
        deadlock=True,
    )
    @with_comms
    def test_closing_barrier(self):
        """Rank 1 goes to the barrier at the test's end without the collective that the others wait in."""
        self.meet()
        self.strike()
        if not self.is_guilty:
            dist.all_reduce(torch.ones(3))

    @ends(Ending.ERROR, r"deadlock: ", r"rank 1 entered broadcast \(root 1\)", deadlock=True)
    @with_comms
    def test_different_root(self):
        """Rank 1 broadcasts from another rank than the others."""
        self.meet()
        self.strike()
        dist.broadcast(torch.ones(3), src=1 if self.is_guilty else 0)

    @ends(Ending.ERROR, r"deadlock: rank 0 in init_process_group \(.*\); ranks 1, 2 had ended$", deadlock=True)
    def test_peers_have_ended(self):
        """Two ranks pass without the third, which waits for them in the start of its process group."""
        self.strike()
        if self.rank == 0:
            self.init_pg(False)


class InCpp(Faulty, DTensorTestBase):
    """Two ranks wait inside C++."""

    def stands(name, entered="all_reduce of ", needs=lambda: ""):
        cause = rf"deadlock: ranks 0, 2 in {name} \(deadlocks.py:\d+\), rank 1 in barrier \(dtensor.py"
        told = (f"ranks 0, 2 entered {entered}", "rank 1 entered barrier")
        return ends(Ending.ERROR, cause, *told, deadlock=True, needs=needs)

    @stands("test_backward", needs=why_no_recorder)
    @with_comms
    def test_backward(self):
        """Rank 1 leaves out the backward pass of a DistributedDataParallel."""
        model = DistributedDataParallel(torch.nn.Linear(2, 2))
        loss = model(torch.ones(1, 2)).sum()
        self.meet()
        self.strike()
        if not self.is_guilty:
            loss.backward()

    @stands("test_work")
    @with_comms
    def test_work(self):
        """Rank 1 leaves out a collective whose work the others wait for."""
        self.meet()
        self.strike()
        if not self.is_guilty:
            work = dist.all_reduce(torch.ones(3), async_op=True)
            work.wait()

    @stands("wait_tensor")
    @with_comms
    def test_tensor(self):
        """Rank 1 leaves out a functional collective whose tensor the others wait for."""
        self.reduce()  # which imports for seconds
        self.meet()
        self.strike()
        if not self.is_guilty:
            self.reduce()

    def reduce(self):
        functional_collectives.wait_tensor(functional_collectives.all_reduce(torch.ones(3), "sum", dist.group.WORLD))

    @stands("all_reduce")
    @with_comms
    def test_autograd_function(self):
        """Rank 1 leaves out a backward pass that reduces, as a synchronised norm's does."""
        weight = torch.ones(3, requires_grad=True)
        self.meet()
        self.strike()
        if not self.is_guilty:
            distributed_functions.all_reduce(weight * 2).sum().backward()
