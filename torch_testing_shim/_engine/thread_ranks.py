"""Runs the ranks of a test as threads of this process: starts and watches them, and makes outcomes of their ends.

A thread cannot be killed. One that does not end by itself gets an exception at its next line of Python, and is not
waited for; it belongs to no group any more.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile
from time import monotonic  # the function itself: a test may have replaced `time`'s
from types import FrameType

import torch

from torch_testing_shim._engine import thread_rendezvous
from torch_testing_shim._engine.interruption import one_interrupt, with_report
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus, ranks_text
from torch_testing_shim._engine.rank_outcomes import handled_by, outcome_of_exception
from torch_testing_shim._engine.rank_steps import STOPS_AT_SUBTEST, RankSteps
from torch_testing_shim._engine.stacks import Frame, frames_of
from torch_testing_shim._engine.thread_rendezvous import Rendezvous
from torch_testing_shim._shared.exit_status import exit_code_of

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: How long the others may go on after a rank has ended badly, in seconds; those that wait for it fail at once.
_GRACE_SECONDS = 1.0
#: Seconds between two looks whether all ranks wait for each other; a look takes some microseconds.
_LOOK_SECONDS = 0.05
#: How long ranks may take to end by themselves once their rendezvous is over, and once they got an exception, in
#: seconds.
_UNWIND_SECONDS, _END_SECONDS = 0.3, 0.7


class ThreadRanks:
    """The ranks of one test, as threads, with `timeout` seconds from their start to the deadline. `start`, `join` and
    `close` are for the thread that runs the test.
    """

    def __init__(self, world_size: int, timeout: float, *, stops_at_subtest: bool = False) -> None:
        self.rendezvous = Rendezvous()  # where they meet
        self.threads: list[threading.Thread] = []  # by rank; empty before `start`
        self.errors: dict[int, BaseException] = {}  # the exceptions that ranks have ended with, by rank
        self._world_size = world_size
        self._timeout = timeout
        self._deadline = 0.0
        self._stops_at_subtest = stops_at_subtest
        self._subtests: dict[int, list[RankOutcome]] = {rank: [] for rank in range(world_size)}
        self._outcomes: dict[int, RankOutcome] = {}
        self._changed = threading.Condition()
        self._others: set[threading.Thread] = set()  # threads that are none of the test's

    def start(self, body: Callable[[int], object]) -> None:
        """Start the ranks, each of which calls `body` with its number."""
        self._deadline = monotonic() + self._timeout
        self._others = set(threading.enumerate())
        for rank in range(self._world_size):
            thread = threading.Thread(target=self._run, args=(rank, body), name=f"rank {rank}", daemon=True)
            self.threads.append(thread)
            thread.start()

    def join(self) -> tuple[RankOutcome, ...]:
        """Wait until every rank has ended, or cannot end well any more. Return their outcomes in the order of ranks.
        Threads of ranks that have ended are joined, since upstream's are gone in `tearDown`.

        Raises:
            KeyboardInterrupt: the run was interrupted; the message says where the ranks stood.
        """
        try:
            status = self._wait()
        except KeyboardInterrupt as interrupt:
            with one_interrupt():
                told = with_report(interrupt, self._all_outcomes(RankStatus.INTERRUPTED))
            raise told from None
        for rank in tuple(self._outcomes):
            self.threads[rank].join(_END_SECONDS)  # what is left of it takes no time
        return self._all_outcomes(status)

    def _wait(self) -> RankStatus:
        """Wait likewise. Return the status of the ranks that still run."""
        give_up, is_deadlocked = self._deadline, False
        while self._living() and not is_deadlocked and (now := monotonic()) < give_up:
            with self._changed:
                self._changed.wait(min(_LOOK_SECONDS, give_up - now))
            if any(outcome.status.is_bad for outcome in tuple(self._outcomes.values())):
                give_up = min(give_up, monotonic() + _GRACE_SECONDS)
                self._wait_until(give_up)
            else:
                is_deadlocked = self._is_deadlocked()
        if is_deadlocked:
            return RankStatus.DEADLOCKED
        return RankStatus.HUNG if monotonic() >= self._deadline else RankStatus.STOPPED

    def _all_outcomes(self, status: RankStatus) -> tuple[RankOutcome, ...]:
        """Return the outcomes of all ranks, with `status` for those that still run."""
        stopped = {rank: self._stopped_outcome(rank, status) for rank in self._living()}
        outcomes = {**self._outcomes, **stopped}
        return tuple(replace(outcomes[rank], subtests=tuple(self._subtests[rank])) for rank in range(self._world_size))

    def close(self) -> None:
        """End what still runs, as far as threads can be ended."""
        self.rendezvous.end()
        self._wait_until(monotonic() + _UNWIND_SECONDS)
        for rank in self._living():
            _tell_to_end(self.threads[rank])
        self._wait_until(monotonic() + _END_SECONDS)
        if living := self._living():
            whose = f"the thread{'s' if len(living) > 1 else ''} of {ranks_text(living)}"
            print(f"torch_testing_shim: {whose} did not end and could not be waited for", file=sys.stderr, flush=True)

    def _run(self, rank: int, body: Callable[[int], object]) -> None:
        STOPS_AT_SUBTEST.set(self._stops_at_subtest)  # of this thread
        steps = RankSteps(
            rank,
            tell=functools.partial(self._leave, rank),
            tell_subtest=self._subtests[rank].append,
        )
        with torch.autograd.set_multithreading_enabled(False):  # or backward would run outside of the rank's world
            outcome = _observed(rank, steps, body)
        self.rendezvous.leave(
            rank, outcome.status.value if outcome.status.is_bad else f"has ended ({_ending(outcome)})"
        )
        with self._changed:
            if steps.error is not None:
                self.errors[rank] = steps.error
            self._outcomes[rank] = outcome
            self._changed.notify_all()

    def _leave(self, rank: int, outcome: RankOutcome) -> None:
        """Tell the others at once that this rank will not come any more, whatever it still does."""
        raised = f"raised {outcome.headline.partition(':')[0]}"
        self.rendezvous.leave(rank, raised if outcome.status.is_exception else _ending(outcome))

    def _living(self) -> list[int]:
        return [rank for rank in range(len(self.threads)) if rank not in self._outcomes]

    def _wait_until(self, when: float) -> None:
        """Wait until every rank has ended, or until `when`, on the monotonic clock."""
        with self._changed:
            self._changed.wait_for(lambda: not self._living(), max(0.0, when - monotonic()))

    def _is_deadlocked(self) -> bool:
        """Whether a deadlock is certain: each living rank waits for others, and the test has started no thread that
        could come for one of them."""
        living = self._living()
        strangers = set(threading.enumerate()) - self._others - set(self.threads)
        idents = [ident for rank in living if (ident := self.threads[rank].ident) is not None]
        return not strangers and len(idents) == len(living) and self.rendezvous.all_wait(idents)

    def _stopped_outcome(self, rank: int, status: RankStatus) -> RankOutcome:
        thread = self.threads[rank]
        frame = sys._current_frames().get(thread.ident or 0)
        stacks = _stacks(thread, frame) if frame is not None else ""
        awaited = self.rendezvous.waits_for(thread.ident)
        told = f"waiting for {awaited}\n{stacks}" if awaited else stacks
        outcome = RankOutcome(rank, status, monotonic(), pid=os.getpid(), stacks=told)
        handled, handled_traceback = handled_by(thread.ident)
        return replace(outcome, handled=handled, handled_traceback=handled_traceback)


def _observed(rank: int, steps: RankSteps, body: Callable[[int], object]) -> RankOutcome:
    """Call the body and return its outcome. `sys.exit` in a thread does not end the process, but counts as if it
    did."""
    try:
        return steps.take([lambda: body(rank)])
    except SystemExit as request:
        return RankOutcome(rank, RankStatus.DIED, monotonic(), pid=os.getpid(), exit_code=exit_code_of(request))
    except BaseException as error:  # of the harness: a rank without an outcome would be waited for until the deadline
        return outcome_of_exception(rank, error)


def _ending(outcome: RankOutcome) -> str:
    return f"skipped: {outcome.skip_reason}" if outcome.status is RankStatus.SKIPPED else outcome.status.value


def _tell_to_end(thread: threading.Thread) -> None:
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))


def _stacks(thread: threading.Thread, innermost: FrameType) -> str:
    """Format a thread's frames as faulthandler does, without the harness's own frames at both ends."""
    frames = frames_of(innermost)
    waits = [depth for depth, frame in enumerate(frames) if frame.f_code.co_filename == thread_rendezvous.__file__]
    if waits:  # the caller of the rendezvous is the process group's method, which is the harness's too
        frames = frames[waits[-1] + 1 :]
        while frames and "__unittest" in frames[0].f_globals:
            frames = frames[1:]
    title = f"Thread 0x{thread.ident or 0:016x} (most recent call first):"
    own = takewhile(lambda frame: frame.f_code is not _observed.__code__, frames)
    return "\n".join([title, *(str(Frame.of(frame)) for frame in own)])
