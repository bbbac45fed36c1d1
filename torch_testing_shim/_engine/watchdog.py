"""Waits for a test's ranks: collects how each ended, and ends those that cannot end well any more.

Once a rank has ended badly, the others get a grace time to fail by themselves. At the deadline, or in a certain
deadlock before it, they get none. Before a rank is ended, it is asked where it stands.
"""

from __future__ import annotations

import math
import os
import selectors
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch_testing_shim._engine.channel import call_off_common_end
from torch_testing_shim._engine.collectives import read_log
from torch_testing_shim._engine.diagnostics import Diagnostics, take_diagnostics
from torch_testing_shim._engine.interruption import one_interrupt, with_report
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim._engine.rank_servers import RankExit
from torch_testing_shim._engine.rank_warnings import read_warnings
from torch_testing_shim._engine.running_ranks import RunningRanks
from torch_testing_shim._engine.stall import StallWatch
from torch_testing_shim._engine.verdict import ExitExpectation

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: How long the others may go on after a rank has ended badly, in seconds. With the two below, and with what
#: ranks may take to tell their stacks, it stays under 2 s.
_GRACE_SECONDS = 1.0
#: How long ranks have between SIGTERM and SIGKILL, in seconds.
_TERMINATE_SECONDS = 0.2
#: How long the kernel may take to end a killed rank, in seconds; past that the rank is given up as unkillable.
_KILL_SECONDS = 10.0
#: How long a rank that is reused may take to put back what its test has changed, in seconds; it takes milliseconds,
#: and a finalizer of the test may never return.
_PUT_BACK_SECONDS = 10.0
#: Bytes that are kept of a rank's output, from its end.
_TAIL_BYTES = 1 << 15


def supervise(
    ranks: RunningRanks,
    deadline: float,
    expectation: ExitExpectation = ExitExpectation(),  # noqa: B008 - frozen
    stall_seconds: float = 0.0,
    *,
    at_deadline: Callable[[], object] = lambda: None,
) -> tuple[RankOutcome, ...]:
    """Wait until every rank has ended, by itself or by force, or wait for another test. Return their outcomes in the
    order of ranks.

    Args:
        ranks: the started ranks.
        deadline: when the test is out of time, on the monotonic clock, in seconds.
        expectation: where it allows death, neither a dead rank nor a deadlock ends the others: the test may have
            planned it.
        stall_seconds: how long ranks have to stand still before a certain deadlock ends them; 0 for never.
        at_deadline: called before ranks are ended because the test is out of time.

    Raises:
        KeyboardInterrupt: the run was interrupted; the message says where the ranks stood, which have been ended.
    """
    watch = _Watch(ranks)
    try:
        status = _wait(watch, ranks, deadline, expectation, stall_seconds)
        if watch.living and status is RankStatus.HUNG:
            at_deadline()
        if watch.living:
            watch.end_the_rest(status)
    except KeyboardInterrupt as interrupt:
        with one_interrupt():
            watch.end_the_rest(RankStatus.INTERRUPTED)
            told = with_report(interrupt, _with_records(ranks, watch.outcomes()))
        raise told from None
    return _with_records(ranks, watch.outcomes())


def _wait(
    watch: _Watch, ranks: RunningRanks, deadline: float, expectation: ExitExpectation, stall_seconds: float
) -> RankStatus:
    """Wait until every rank has ended or has to be ended. Return the status of those that have to be."""
    give_up, began = deadline, time.monotonic()
    stall = StallWatch(ranks, 0.0 if expectation.allows_death else stall_seconds, deadline - began)
    is_deadlocked = False
    while watch.living and not is_deadlocked and (now := time.monotonic()) < give_up:
        watch.wait(min(give_up, stall.next_look, watch.put_back_by) - now)
        watch.end_those_who_put_back_too_long()
        is_deadlocked = not watch.has_bad_end and stall.sees_deadlock(watch.living)
        if watch.has_bad_end and not expectation.allows_death:
            give_up = min(give_up, time.monotonic() + _GRACE_SECONDS)
            call_off_common_end(ranks.jobs[0].folder)
            watch.wait_all(give_up)
        elif watch.has_skip and watch.living:
            watch.wait_all(min(give_up, time.monotonic() + _GRACE_SECONDS))
            watch.end_those_who_skipped()  # as fresh ranks end after a skip, so that the others learn of it
    if is_deadlocked:
        return RankStatus.DEADLOCKED
    return RankStatus.HUNG if time.monotonic() >= deadline else RankStatus.STOPPED


class _Watch:
    """The state of the ranks, as far as it is known."""

    def __init__(self, ranks: RunningRanks) -> None:
        self._ranks = ranks
        self._messages: dict[int, RankOutcome] = {}
        self._final: dict[int, RankOutcome] = {}
        self._finished: set[int] = set()  # ranks that wait for another test
        self.living = {job.rank for job in ranks.jobs}

    @property
    def has_bad_end(self) -> bool:
        """Whether a rank has said or shown that the test cannot pass."""
        return any(outcome.status.is_bad for found in (self._messages, self._final) for outcome in found.values())

    @property
    def has_skip(self) -> bool:
        """Whether a rank that has skipped waits for another test."""
        return any(self._final[rank].status is RankStatus.SKIPPED for rank in self._finished)

    def end_those_who_skipped(self) -> None:
        """End ranks that skipped where others still run the test, which cannot pass any more."""
        for rank in tuple(self._finished) if self.living else ():
            if self._final[rank].status is RankStatus.SKIPPED:
                self._ranks.signal(rank, signal.SIGKILL)
                self._finished.discard(rank)

    @property
    def put_back_by(self) -> float:
        """When the next rank has to have put back what its test has changed, on the monotonic clock."""
        over = (self._messages[rank].ended_at for rank in filter(self._is_over, self.living))
        return min(over, default=math.inf) + _PUT_BACK_SECONDS

    def _is_over(self, rank: int) -> bool:
        return rank in self._messages and self._messages[rank].is_over

    def end_those_who_put_back_too_long(self) -> None:
        if time.monotonic() >= self.put_back_by:
            for rank in filter(self._is_over, self.living):
                self._ranks.signal(rank, signal.SIGKILL)

    def wait(self, seconds: float) -> None:
        """Wait until something happens, `seconds` at most, and take note of it."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._ranks.exit_fileno(), selectors.EVENT_READ)
            for rank in self.living:
                if not self._ranks.readers[rank].at_end:
                    selector.register(self._ranks.readers[rank], selectors.EVENT_READ)
            self._ranks.note_exits()
            selector.select(max(0.0, seconds) if self.living.isdisjoint(self._ranks.ends) else 0.0)
        self._ranks.note_exits()
        for rank in tuple(self.living):
            self._read_message(rank)  # its last one, where its end is known
            message, end, pid = self._messages.get(rank), self._ranks.ends.get(rank), self._ranks.pids[rank]
            if end is not None:
                self._final[rank] = final_outcome(message, end)
            elif message is not None and message.left is not None:
                self._final[rank] = replace(message, pid=pid, finished=True)
                self._finished.add(rank)
        self.living.difference_update(self._final)

    def wait_all(self, until: float) -> None:
        """Wait until every rank has ended or the time has come."""
        while self.living and (now := time.monotonic()) < until:
            self.wait(until - now)

    def end_the_rest(self, status: RankStatus) -> None:
        """Ask the ranks that still run where they stand, end them, and note `status` for them. Messages that they
        send from now on do not count, since they may come of that."""
        self.wait(0)
        ended_by_us, said = frozenset(self.living), dict(self._messages)
        if not ended_by_us:
            return
        diagnostics = take_diagnostics(self._ranks, ended_by_us, native=status.is_hang)
        for number, seconds in ((signal.SIGTERM, _TERMINATE_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
            for rank in self.living:
                self._ranks.signal(rank, number)
            self.wait_all(time.monotonic() + seconds)
        for rank in ended_by_us:
            self._final[rank] = self._outcome_of_ended(rank, status, said.get(rank), diagnostics[rank])

    def _outcome_of_ended(
        self, rank: int, status: RankStatus, said: RankOutcome | None, told: Diagnostics
    ) -> RankOutcome:
        end = self._final.get(rank)  # None where not even SIGKILL ended it
        ended_at, exit_code = (time.monotonic(), None) if end is None else (end.ended_at, end.exit_code)
        if said is not None and said.is_over and status.is_hang:
            return replace(
                said, pid=self._ranks.pids[rank], finished=True, left=("its state was not put back in time",)
            )
        if said is not None and said.status.is_exception:
            return replace(said, pid=self._ranks.pids[rank], exit_code=exit_code, finished=True)
        return RankOutcome(
            rank,
            status,
            ended_at,
            pid=self._ranks.pids[rank],
            exit_code=exit_code,
            stacks=told.stacks,
            native_stacks=told.native_stacks,
            wait=told.wait.value,
            handled=told.handled[0],
            handled_traceback=told.handled[1],
            finished=said is not None,
        )

    def _read_message(self, rank: int) -> None:
        if (message := self._ranks.readers[rank].read()) is not None:
            self._messages[rank] = replace(message, rank=rank)  # a test may have given its rank another number

    def _subtests(self, rank: int) -> tuple[RankOutcome, ...]:
        return tuple(replace(subtest, rank=rank) for subtest in self._ranks.readers[rank].subtests)

    def outcomes(self) -> list[RankOutcome]:
        return [replace(self._final[job.rank], subtests=self._subtests(job.rank)) for job in self._ranks.jobs]


def final_outcome(message: RankOutcome | None, end: RankExit) -> RankOutcome:
    """Check a rank's own message against how its process ended."""
    if message is None:
        return RankOutcome(end.rank, RankStatus.DIED, end.at, pid=end.pid, exit_code=end.exit_code)
    told = replace(message, pid=end.pid, exit_code=end.exit_code, finished=True)
    if message.is_over:
        left = f"its process ended after the test, when its state was put back: {told.exit_text}"
        return replace(told, exit_code=message.exit_code, left=(left,))
    if message.status.is_exception or end.exit_code == message.exit_code:
        return told
    return replace(told, status=RankStatus.DIED, ended_at=end.at)


def _with_records(ranks: RunningRanks, outcomes: list[RankOutcome]) -> tuple[RankOutcome, ...]:
    """Add the ranks' output, warnings and collectives, unless all passed: then nobody asks for them."""
    if all(outcome.status is RankStatus.PASSED for outcome in outcomes):
        return tuple(outcomes)
    folders = [job.folder for job in ranks.jobs]
    return tuple(
        replace(
            o,
            output=tail_of(folders[o.rank].output(o.rank)),
            warnings=tuple(map(str, read_warnings(folders[o.rank].warnings(o.rank)))),
            collectives=read_log(folders[o.rank].collectives(o.rank)),
        )
        for o in outcomes
    )


def tail_of(path: Path, size: int = _TAIL_BYTES) -> str:
    """Return the end of a file, `size` bytes at most; empty where it cannot be read."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - size))
            return stream.read().decode("utf-8", errors="replace")
    except OSError:  # also where a rank has forbidden itself descriptors
        return ""
