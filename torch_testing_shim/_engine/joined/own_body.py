"""The body of a joined test in this process, one of its ranks: run, with its outcome kept, also where it hangs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

from torch_testing_shim._engine.channel import THIS_RANK, ChannelWriter
from torch_testing_shim._engine.collectives import read_log
from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.joined.ending import Patience, Standing, standing_now
from torch_testing_shim._engine.joined.meeting import MEETING
from torch_testing_shim._engine.joined.remains import write_word
from torch_testing_shim._engine.joined.surroundings import Limits, leave_groups, rank_surroundings
from torch_testing_shim._engine.joined.world import CurrentTest, JoinedWorld
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim._engine.rank_main import exit_code_of_call, run_between_hooks
from torch_testing_shim._engine.rank_servers import RankExit
from torch_testing_shim._engine.rank_steps import STOPS_AT_SUBTEST
from torch_testing_shim._engine.shared_devices import share_devices
from torch_testing_shim._engine.watchdog import final_outcome, tail_of

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: How long a rank that has passed keeps its connections while others still make theirs, in seconds.
_PATIENCE_SECONDS = 0.5


class _JoinedChannel(ChannelWriter):
    """The channel of a rank that is this process: it keeps the outcome, also for neighbours, and tells others at once
    of a bad one."""

    def __init__(
        self,
        note: Callable[[RankOutcome | None, list[RankOutcome]], None],
        tell_bad: Callable[[], None],
        await_others: Callable[[], None],
    ) -> None:
        super().__init__(-1)
        self.subtests: list[RankOutcome] = []
        self._note, self._tell_bad, self._await = note, tell_bad, await_others

    def _write(self, outcome: RankOutcome, mark: bytes = b"") -> None:
        if mark:
            self.subtests.append(outcome)
        elif outcome.status.is_bad:
            self._tell_bad()
        self._note(None if mark else outcome, self.subtests)

    def await_others(self) -> None:
        self._await()


class OwnBody:
    """This process's part of one test.

    Args:
        job: the order, as another rank would get it.
        test_class: the test's.
        call: runs the body.
    """

    def __init__(
        self, world: JoinedWorld, test: CurrentTest, job: RankJob, test_class: type, call: Callable[[], object]
    ) -> None:
        self._world, self._test, self._job, self._class, self._call = world, test, job, test_class, call
        self._left: tuple[str, ...] = ()
        self._limits = Limits()
        self._channel = _JoinedChannel(partial(write_word, job.folder, test.key), self._tell_bad, self._await_others)

    def run(self) -> Standing:
        """Run it, and return how it ended. A process whose limits cannot be put back runs no other test."""
        job, test = self._job, self._test
        THIS_RANK.channel, THIS_RANK.has_run_body = self._channel, False
        test.end_stuck = self._stuck_outcome
        with rank_surroundings(job), self._meeting(), self._keeping():
            try:
                code = self._run_job(job, self._channel)
            finally:
                self._limits.put_back()
            leave_groups(has_failed=bool(code))
        leaves = not self._limits.put_back()
        test.end_stuck = None
        THIS_RANK.channel = None
        end = RankExit(job.rank, os.getpid(), code, time.monotonic())
        return Standing(self._with_records(final_outcome(self._channel.sent, end)), leaves)

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        keeper = self._world.keeper
        if keeper is None:
            yield
            return
        keeper.before_body(self._class)
        try:
            yield
        finally:
            if self._limits.put_back():
                self._left = keeper.after_body()
            self._world.guard()  # which is put back, too

    def _run_job(self, job: RankJob, channel: _JoinedChannel) -> int:  # the name by which stacks are cut
        def call() -> None:
            STOPS_AT_SUBTEST.set(job.stops_at_subtest)
            share_devices(job.world_size)
            run_between_hooks(job, channel, self._call)

        return exit_code_of_call(job, channel, call)

    @contextmanager
    def _meeting(self) -> Iterator[None]:
        MEETING.begin(self._job.folder.path, f"{self._world.prefix}/{self._test.key}/meeting")
        try:
            yield
        finally:
            MEETING.end()

    def _tell_bad(self) -> None:
        self._limits.put_back()  # a call of the store fails where no descriptor is allowed
        with suppress(RuntimeError):
            self._world.exchange.store.set(f"{self._test.key}/bad", "")

    def _await_others(self) -> None:
        """Wait a moment for the ranks that are not done with their bodies yet."""
        test = self._test
        until, patience = time.monotonic() + _PATIENCE_SECONDS, Patience(self._world, test, self._world.exchange)
        with suppress(RuntimeError):
            self._world.exchange.answer(f"{test.key}/done", "", test.ranks)
            self._world.exchange.wait(
                f"{test.key}/done", lambda: 0.0 if patience.has_waited(0) else min(until, patience.until())
            )

    def _stuck_outcome(self, rank: int, status: RankStatus) -> RankOutcome:
        """Return how this rank stands, for the watch."""
        said = self._channel.sent
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
            output="" if is_quiet else tail_of(self._job.folder.output(rank)),
            collectives=read_log(self._job.folder.collectives(rank)),
            subtests=tuple(self._channel.subtests),
            left=self._left,
        )
