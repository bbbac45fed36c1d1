"""All ranks wait for each other: told before the deadline, since nothing can come of it."""

from __future__ import annotations

import torch
import torch.distributed as dist

from faults.fault import Ending, ends
from faults.faulty import Faulty
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


class Deadlocks(Faulty, DTensorTestBase):
    @ends(Ending.ERROR, r"deadlock: ranks 0, 1 in recv \(.*\), rank 2 in barrier \(common_dtensor.py", deadlock=True)
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
            dist.all_gather([torch.ones(3) for _ in range(3)], torch.ones(3))
        else:
            dist.all_reduce(torch.ones(3))

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
            dist.all_gather([torch.ones(3) for _ in range(3)], torch.ones(3))

    @ends(Ending.ERROR, r"deadlock: rank 0 in init_process_group \(.*\); ranks 1, 2 had ended$", deadlock=True)
    def test_peers_have_ended(self):
        """Two ranks pass without the third, which waits for them in the start of its process group."""
        self.strike()
        if self.rank == 0:
            self.init_pg(False)
