"""The ranks of one test class in a joined world, which keeps its processes from test to test anyway."""

from __future__ import annotations

import unittest

from torch_testing_shim._engine.joined.joined_ranks import JoinedRanks
from torch_testing_shim._engine.joined.world import JoinedWorld
from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._engine.persistent_ranks import order_line
from torch_testing_shim._engine.verdict import ExitExpectation
from torch_testing_shim._shared.settings import read_settings

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class JoinedPersistentRanks(JoinedRanks):
    """The ranks of one class, in the same processes as all others. Each test makes the process group anew."""

    def __init__(
        self, world: JoinedWorld, test_class: type[unittest.TestCase], world_size: int, *, stops_at_subtest: bool
    ) -> None:
        super().__init__(world)
        self.device = read_settings().device
        self.pids = [member.pid for member in world.members[:world_size]]
        self.are_running = True
        self.descriptors: frozenset[int] = frozenset()
        self._class, self._size, self._stops = test_class, world_size, stops_at_subtest

    def order(self, method: str, timeout: float) -> None:
        """Note the test to run, which may take `timeout` seconds."""
        orders = self.scratch.path / "orders"
        orders.mkdir(exist_ok=True)
        (orders / str(self._world.rank)).write_text(order_line(method))
        arguments = {"orders": str(orders), "world_size": self._size}
        self.start(
            self._class,
            "",
            self._size,
            timeout=timeout,
            rendezvous_file=str(self.scratch.rendezvous),
            run_arguments=arguments,
            stops_at_subtest=self._stops,
        )

    def outcomes(self) -> tuple[RankOutcome, ...]:
        """Run this process's part of the test, and return the outcomes of all ranks."""
        return self.join(ExitExpectation())

    def end_ranks(self) -> None:
        """There is nothing to end: the processes go on to other tests."""

    def finish(self) -> None:
        """Remove the scratch folder."""
        self.are_running = False
        self.close()
