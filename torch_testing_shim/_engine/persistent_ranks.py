"""Persistent ranks: started once for a class, and ordered to run test after test.

    controller  --"test_name\\n"-->  FIFO  ---->  rank
                <--one RankOutcome-- channel --'

A rank whose test failed ends at once, so that its peers learn of it. The controller starts all anew for the next test,
since nobody knows in which collective the others stand.
"""

from __future__ import annotations

import json
import math
import os
import time
import unittest
from collections.abc import Iterator
from dataclasses import replace
from typing import IO

from torch_testing_shim._engine.channel import ChannelWriter
from torch_testing_shim._engine.controller import RankError, TestRanks
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus, ranks_text
from torch_testing_shim._engine.rank_outcomes import outcome_of_exception, pass_outcome, skip_outcome
from torch_testing_shim._engine.verdict import ExitExpectation, VerdictKind, verdict
from torch_testing_shim._engine.watchdog import supervise
from torch_testing_shim._shared.owned_folders import remove_folder
from torch_testing_shim._shared.settings import read_settings

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: How long ranks may take to end after their class's last test, in seconds; they only leave their process groups.
_END_SECONDS = 10.0
#: Ranks whose skips lie less than this apart, in seconds, can be kept: the watchdog ends a rank that has skipped where
#: others go on for a second.
_TOGETHER_SECONDS = 0.5


class PersistentRanks(TestRanks):
    """The persistent ranks of one class. After `close` they are gone.

    Attributes:
        pids: their process ids, by rank.
        device: the device type that is chosen for them; None where torch chooses.
    """

    def __init__(self, test_class: type[unittest.TestCase], world_size: int, *, stops_at_subtest: bool = False) -> None:
        """Start the ranks. Raise `LaunchError` where they cannot be started."""
        super().__init__()
        self.device = read_settings().device
        self._orders: list[int] = []
        try:
            path = self.scratch.path / "orders"
            path.mkdir()
            for rank in range(world_size):
                os.mkfifo(path / str(rank), 0o600)
                self._orders.append(os.open(path / str(rank), os.O_RDWR))  # both ways: it does not wait for the rank
            self.pids = self.start(
                test_class,
                "",
                world_size,
                timeout=0.0,
                rendezvous_file=str(self.scratch.rendezvous),
                run_arguments={"orders": str(path), "world_size": world_size},
                stops_at_subtest=stops_at_subtest,
            )
        except BaseException:
            self.close()
            raise

    @property
    def descriptors(self) -> frozenset[int]:
        """Descriptors that this process has open for the ranks."""
        return frozenset([*self._orders, *(reader.fileno() for reader in self.running.readers)])

    @property
    def _ends_by(self) -> float:
        return math.inf

    def order(self, method: str, timeout: float) -> None:
        """Order all ranks to run a test, which may take `timeout` seconds, and discard their earlier output."""
        for rank, orders in enumerate(self._orders):
            for path in (self.scratch.output(rank), self.scratch.warnings(rank)):
                if path.exists():
                    os.truncate(path, 0)
            self.running.readers[rank].subtests.clear()
            os.write(orders, order_line(method).encode())
        self._deadline = time.monotonic() + timeout

    def outcomes(self) -> tuple[RankOutcome, ...]:
        """Wait until every rank has told how the test ended; at the deadline they are ended by force. End ranks that
        cannot be kept, and remove the folders that ranks shared."""
        stall_seconds = read_settings().stall_seconds
        found = supervise(self.running, self._deadline, stall_seconds=stall_seconds)
        kind = verdict(found).kind
        times = [outcome.ended_at for outcome in found]
        is_kept = kind is VerdictKind.PASSED or (
            kind is VerdictKind.SKIPPED and max(times) - min(times) < _TOGETHER_SECONDS
        )
        if not is_kept:
            self.end_ranks()
        remove_folder(self.scratch.shared)
        return found

    @property
    def are_running(self) -> bool:
        """Whether they wait for orders or run a test. Another test's ranks may have been started in their place."""
        return bool(self._orders) and not self.running.is_closed

    def end_ranks(self) -> None:
        """End the ranks by force; their output stays."""
        while self._orders:
            os.close(self._orders.pop())
        if self._running is not None:
            self._running.close()

    def finish(self) -> None:
        """Let the ranks end by themselves, and remove the scratch folder. Raise `RankError` where one did not end
        well."""
        try:
            if self.are_running:
                while self._orders:
                    os.close(self._orders.pop())
                ends = supervise(self.running, time.monotonic() + _END_SECONDS, ExitExpectation(ignored=True))
                _check_ends([o for o in ends if o.exit_code != 0])
        finally:
            self.close()

    def close(self) -> None:
        """End the ranks by force, and remove the scratch folder."""
        self.end_ranks()
        super().close()


def _check_ends(bad: list[RankOutcome]) -> None:
    if bad:
        how = "still ran" if bad[0].status is RankStatus.HUNG else f"ended with {bad[0].exit_text}"
        raise RankError(f"{ranks_text([o.rank for o in bad])} {how} after the last test of the class\n{bad[0].output}")


def full_name(test_class: type) -> str:
    return f"{test_class.__module__}.{test_class.__qualname__}"


def order_line(method: str) -> str:
    """Return the line by which a `TaskQueue` learns of a test method, whose name may have lines itself."""
    return f"{json.dumps(method)}\n"


def method_in(test_id: str, test_class: type) -> str:
    """Return the name of the test's method in an id of `TaskQueue`; it may have dots of its own."""
    owner = f"{full_name(test_class)}."
    return test_id.removeprefix(owner) if test_id.startswith(owner) else test_id.rpartition(".")[2]


class TaskQueue:
    """In a rank: the tests of the class `owner`, given by its full name, that it is ordered to run through the FIFO
    `orders`."""

    def __init__(self, orders: str, owner: str) -> None:
        self._stream: IO[str] = open(orders)  # noqa: SIM115 - open until the rank ends
        self._owner = owner

    def __enter__(self) -> TaskQueue:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def get(self) -> str | None:
        """Wait for the next test. Return its id, "module.Class.test_x", or None once the controller has closed its
        end."""
        line = self._stream.readline()
        return f"{self._owner}.{json.loads(line)}" if line else None

    def __iter__(self) -> Iterator[str]:
        return iter(self.get, None)


class CompletionQueue:
    """In a rank: tells the controller through the rank's channel how tests have ended."""

    def __init__(self, rank: int, channel: ChannelWriter) -> None:
        self._rank = rank
        self._channel = channel

    def put(self, result: RankOutcome | BaseException | object) -> None:
        """Tell how the latest test has ended: its outcome, or the exception that it raised (a skip's too). Anything
        else means that it has passed (upstream puts the test's id)."""
        if isinstance(result, unittest.SkipTest):
            result = skip_outcome(self._rank, str(result))
        elif isinstance(result, BaseException):
            result = outcome_of_exception(self._rank, result)
        elif not isinstance(result, RankOutcome):
            result = pass_outcome(self._rank)
        self._channel.send(result if result.status.is_bad else replace(result, left=()))
