"""The ranks of one test in a joined world. This process is one of them, and runs the body itself.

`JoinedRanks` has the names of `TestRanks`, and `JoinedPersistentRanks` those of `PersistentRanks`, so that test cases
need not know how their ranks were started. Of a test with fewer ranks than the world, the first run the body while the
others wait.
"""

from __future__ import annotations

import os
import time
import unittest
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from types import MappingProxyType
from typing import Any

from torch_testing_shim._engine.channel import THIS_RANK, ChannelWriter
from torch_testing_shim._engine.collectives import read_log
from torch_testing_shim._engine.controller import RankError, TestRanks
from torch_testing_shim._engine.failure_text import output_report
from torch_testing_shim._engine.job import LaunchError, RankJob
from torch_testing_shim._engine.joined.ending import (
    Patience,
    Standing,
    end_run,
    gather,
    leave,
    post,
    standing_now,
)
from torch_testing_shim._engine.joined.meeting import MEETING
from torch_testing_shim._engine.joined.surroundings import leave_groups, rank_surroundings
from torch_testing_shim._engine.joined.world import JOINED, CurrentTest, JoinedWorld
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim._engine.persistent_ranks import PersistentRanks
from torch_testing_shim._engine.rank_main import exit_code_of_call, run_between_hooks
from torch_testing_shim._engine.rank_servers import RankExit
from torch_testing_shim._engine.rank_steps import STOPS_AT_SUBTEST
from torch_testing_shim._engine.running_ranks import RankProcess
from torch_testing_shim._engine.shared_devices import share_devices
from torch_testing_shim._engine.verdict import ExitExpectation
from torch_testing_shim._engine.watchdog import final_outcome, tail_of
from torch_testing_shim._shared.settings import read_launch, read_settings

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: How long a rank that has passed keeps its connections while others still make theirs, in seconds.
_PATIENCE_SECONDS = 0.5
#: The answer of a rank that runs the test.
_READY = "ready"


def test_ranks() -> TestRanks:
    """Returns the ranks of a test: this process and others where a launcher has started them, else new processes.

    Raises:
        LaunchError: a launcher has started this process, and nobody has joined its world.
    """
    if JOINED.world is not None:
        return JoinedRanks(JOINED.world)
    _refuse_stray_launch()
    return TestRanks()


def persistent_ranks(
    test_class: type[unittest.TestCase], world_size: int, *, stops_at_subtest: bool
) -> PersistentRanks | JoinedPersistentRanks:
    """Returns the ranks of a test class likewise."""
    if JOINED.world is not None:
        return JoinedPersistentRanks(JOINED.world, test_class, world_size, stops_at_subtest=stops_at_subtest)
    _refuse_stray_launch()
    return PersistentRanks(test_class, world_size, stops_at_subtest=stops_at_subtest)


def _refuse_stray_launch() -> None:
    if read_launch() is not None:
        raise LaunchError("torchrun has to start the test file itself (torchrun ... test_x.py), not pytest")


test_ranks.__test__ = False  # type: ignore[attr-defined]  # no test, whatever pytest makes of its name


@dataclass(frozen=True)
class _Started:
    """The names of `RunningRanks` that test cases use."""

    started: Sequence[float]
    processes_left: int = 0
    is_closed: bool = False


class _JoinedChannel(ChannelWriter):
    """The channel of a rank that is this process: it keeps the outcome, and tells others at once of a bad one."""

    def __init__(self, tell_bad: Callable[[], None], await_others: Callable[[], None]) -> None:
        super().__init__(-1)
        self.subtests: list[RankOutcome] = []
        self._tell_bad, self._await = tell_bad, await_others

    def _write(self, outcome: RankOutcome, mark: bytes = b"") -> None:
        if mark:
            self.subtests.append(outcome)
        elif outcome.status.is_bad:
            self._tell_bad()

    def await_others(self) -> None:
        self._await()


class JoinedRanks(TestRanks):
    """The ranks of one test method."""

    def __init__(self, world: JoinedWorld) -> None:
        super().__init__()
        self._world = world
        self._job: RankJob | None = None
        self._call: Callable[[], object] = lambda: None
        self._began = 0.0
        self._timeout = 0.0
        self._channel: _JoinedChannel | None = None

    def start(
        self,
        test_class: type[unittest.TestCase],
        method: str,
        world_size: int,
        *,
        timeout: float,
        rendezvous_file: str,
        run_arguments: dict[str, Any],
        stops_at_subtest: bool = False,
        pipes: Sequence[int] = (),
        calls: Mapping[int, object] = MappingProxyType({}),
        reuses: bool = False,
    ) -> list[int]:
        """Notes what to run; `join` runs it. Arguments and result are those of `TestRanks.start`. The processes are the
        launcher's, so whether ranks may be reused does not matter.

        Raises:
            unittest.SkipTest: the world has too few processes.
        """
        rank, size = self._world.rank, self._world.size
        if world_size > size:
            raise unittest.SkipTest(f"needs {world_size} ranks; the launcher has started {size}")
        self._timeout = timeout
        self._job = RankJob(
            module=test_class.__module__,
            module_file=None,
            class_name=test_class.__qualname__,
            method=method,
            rank=rank,
            world_size=world_size,
            scratch=str(self.scratch.path),
            rendezvous_file=rendezvous_file,
            run_arguments=run_arguments,
            stops_at_subtest=stops_at_subtest,
        )
        pipe = Connection(os.dup(pipes[rank])) if rank < len(pipes) else None
        own: Any = calls.get(rank)
        run: Any = test_class
        self._call = own.run if own else lambda: run._run(rank, method, rendezvous_file, pipe, **run_arguments)
        return [member.pid for member in self._world.members[:world_size]]

    @property
    def are_started(self) -> bool:
        return self._job is not None

    @property
    def running(self) -> Any:
        return _Started([self._began] * self._ranks)

    @property
    def processes(self) -> list[RankProcess]:
        """None: a test can neither signal ranks on other machines nor ask how they end."""
        return []

    @property
    def _ranks(self) -> int:
        return 0 if self._job is None else self._job.world_size

    def printed(self) -> str:
        path = self.scratch.output(self._world.rank)
        return output_report([(self._world.rank, path.read_text(errors="replace"))]) if path.exists() else ""

    def stacks(self) -> str:
        return ""

    def join(
        self, expectation: ExitExpectation, at_deadline: Callable[[], object] = lambda: None
    ) -> tuple[RankOutcome, ...]:
        """Runs this process's part of the test, and returns the outcomes of all ranks.

        Raises:
            unittest.SkipTest: the test expects its ranks to end.
            RankError: another process does not run the test.
        """
        if expectation.allows_death:
            raise unittest.SkipTest("the test expects ranks to end, and a launcher's ranks run the next test, too")
        world, test = self._world, self._world.current
        _meet(world, test, self._timeout)
        test.ranks, test.in_body, self._began = self._ranks, True, test.began
        own = self._run_body(test) if world.rank < self._ranks else None
        with world.awaiting(read_settings().timeout_seconds):
            if own is not None:
                _post_or_end(world, test, own)
            told = gather(world, test, world.exchange, own)
            if any(one.leaves for one in told):
                leave(world, test, world.exchange, told)
        test.in_body = False
        test.remove_folders()
        return tuple(one.outcome for one in told)

    # In this rank.

    def _run_body(self, test: CurrentTest) -> Standing:
        job = self._job
        assert job is not None, "ranks are started before they are joined"
        channel = self._channel = THIS_RANK.channel = _JoinedChannel(
            lambda: self._tell_bad(test), lambda: self._await_others(test)
        )
        THIS_RANK.has_run_body = False
        test.end_stuck = self._stuck_outcome
        with rank_surroundings(job), self._meeting(test):
            code = self._run_job(job, channel)
            leave_groups(has_failed=bool(code))
        test.end_stuck = None
        THIS_RANK.channel = None
        end = RankExit(job.rank, os.getpid(), code, time.monotonic())
        return Standing(self._with_records(final_outcome(channel.sent, end)))

    def _run_job(self, job: RankJob, channel: _JoinedChannel) -> int:  # the name by which stacks are cut
        def call() -> None:
            STOPS_AT_SUBTEST.set(job.stops_at_subtest)
            share_devices(job.world_size)
            run_between_hooks(job, channel, self._call)

        return exit_code_of_call(job, channel, call)

    @contextmanager
    def _meeting(self, test: CurrentTest) -> Iterator[None]:
        MEETING.begin(self.scratch.path, f"{test.key}/meeting", self._world.connect)
        try:
            yield
        finally:
            MEETING.end()

    def _tell_bad(self, test: CurrentTest) -> None:
        with suppress(RuntimeError):
            self._world.exchange.store.set(f"{test.key}/bad", "")

    def _await_others(self, test: CurrentTest) -> None:
        """Waits a moment for the ranks that are not done with their bodies yet."""
        until, patience = time.monotonic() + _PATIENCE_SECONDS, Patience(self._world, test, self._world.exchange)
        with suppress(RuntimeError):
            self._world.exchange.answer(f"{test.key}/done", "", test.ranks)
            self._world.exchange.wait(
                f"{test.key}/done", lambda: 0.0 if patience.has_waited(0) else min(until, patience.until())
            )

    def _stuck_outcome(self, rank: int, status: RankStatus) -> RankOutcome:
        """Returns how this rank stands, for the watch."""
        said = self._channel.sent if self._channel is not None else None
        if said is None or not said.status.is_exception:
            said = replace(standing_now(rank, status), finished=said is not None)
        return self._with_records(said)

    def _with_records(self, outcome: RankOutcome) -> RankOutcome:
        rank = self._world.rank
        is_quiet = outcome.status is RankStatus.PASSED
        return replace(
            outcome,
            rank=rank,
            pid=os.getpid(),
            output="" if is_quiet else tail_of(self.scratch.output(rank)),
            collectives=read_log(self.scratch.collectives(rank)),
            subtests=tuple(self._channel.subtests) if self._channel is not None else (),
        )


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
        """Notes the test to run, which may take `timeout` seconds."""
        orders = self.scratch.path / "orders"
        orders.mkdir(exist_ok=True)
        (orders / str(self._world.rank)).write_text(f"{method}\n")
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
        """Runs this process's part of the test, and returns the outcomes of all ranks."""
        return self.join(ExitExpectation())

    def end_ranks(self) -> None:
        """There is nothing to end: the processes go on to other tests."""

    def finish(self) -> None:
        """Removes the scratch folder."""
        self.are_running = False
        self.close()


def _meet(world: JoinedWorld, test: CurrentTest, timeout: float) -> None:
    """Waits until all processes have come to the body of the test, which may take `timeout` seconds.

    Raises:
        RankError: some do not run it: their set-up has skipped or failed.
    """
    with world.awaiting(timeout):
        come(world, test, _READY)
        if not world.exchange.wait(f"{test.key}/come", Patience(world, test, world.exchange, is_brief=True).until):
            stopped = RankOutcome(world.rank, RankStatus.STOPPED, time.monotonic())
            end_run(world, test, world.exchange, Standing(stopped, leaves=True), in_body=False)
        test.began = time.monotonic()
        answers = world.exchange.answers(f"{test.key}/come", world.everyone)
    strays = [rank for rank, said in sorted(answers.items()) if said != _READY]
    if strays:
        first = strays[0]
        who = f"rank {first} ({world.members[first].host})"
        raise RankError(f"ranks disagree: {who} does not run the test: {answers[first]}")


def come(world: JoinedWorld, test: CurrentTest, said: str) -> None:
    """Says that this process has come to the body of the test, or why it does not; only the first time counts."""
    if not test.came:
        test.came = True
        with suppress(RuntimeError):  # a store that is lost is noticed by who waits
            world.exchange.answer(f"{test.key}/come", said, world.size)


def _post_or_end(world: JoinedWorld, test: CurrentTest, own: Standing) -> None:
    with suppress(RuntimeError):
        post(world, test, world.exchange, own, in_body=True)
