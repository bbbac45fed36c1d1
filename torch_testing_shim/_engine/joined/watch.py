"""The watch of a joined process: a thread that sees neighbours die, and ends a test that cannot end by itself.

The main thread may be stuck in a collective's C++, where no exception reaches it. Then the watch tells the others how
this rank stands, takes part in the verdict in its place, and ends the process.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress

from torch_testing_shim._engine.joined.bounded_store import StoreLostError
from torch_testing_shim._engine.joined.ending import OVER, Patience, Standing, end_run, post, standing_now
from torch_testing_shim._engine.joined.remains import with_remains
from torch_testing_shim._engine.joined.world import CurrentTest, JoinedWorld, Member
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim._shared.owned_folders import remove_own_folders
from torch_testing_shim._shared.stop_signals import STOP_SIGNALS

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Seconds between two looks at the store.
_LOOK_SECONDS = 0.2
#: How long a stuck rank may go on after another has ended badly, in seconds. The others wait for its outcome longer.
_GRACE_SECONDS = 1.0
#: How long a process may take longer to its next test than that test may take, in seconds: the others wait as long.
_LATE_SECONDS = 6.0
#: Field of /proc/PID/stat, counted after the name, that holds the exit code of a process that nobody has reaped.
_EXIT_CODE_FIELD = 49


class Watch:
    """The thread. `stop` ends it."""

    def __init__(self, world: JoinedWorld) -> None:
        self._world = world
        self._exchange = world.new_exchange()
        self._neighbours = _descriptors(world.neighbours)
        self._reported: set[tuple[str, int]] = set()
        self._wakeup, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # C++ may keep the main thread from its handlers; the descriptor is written to at once.
        for number in STOP_SIGNALS:
            signal.signal(number, lambda number, frame: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._run_or_complain, name="torch_testing_shim watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._world.is_over = True
        self._thread.join(2 * _LOOK_SECONDS)

    def _run_or_complain(self) -> None:
        try:
            self._run()
        except Exception:
            self._world.complain(f"the watch of rank {self._world.rank} has failed:\n{traceback.format_exc()}")

    def _run(self) -> None:
        patience: Patience | None = None
        while not self._world.is_over:
            self._sleep()
            test = self._world.test
            if test is None:
                self._look_between_tests()
                continue
            if patience is None or patience.test is not test or patience.in_body != test.in_body:
                patience = Patience(self._world, test, self._exchange)
            with suppress(StoreLostError):
                self._tell_deaths(test)
            patience.look()
            if (status := self._status_if_stuck(test, patience)) is not None and self._world.claim_end(test):
                self._end(test, patience, status)

    def _sleep(self) -> None:
        """Sleeps a moment, or until a neighbour ends or the launcher ends this process."""
        readable, _, _ = select.select([self._wakeup, *self._neighbours], [], [], _LOOK_SECONDS)
        if self._wakeup in readable and {*os.read(self._wakeup, 64)}.intersection(STOP_SIGNALS):
            self._world.terminated_at = self._world.terminated_at or time.monotonic()
        for descriptor in set(readable) & self._neighbours.keys():
            member = self._neighbours.pop(descriptor)
            os.close(descriptor)
            self._world.deaths[member.rank] = RankOutcome(
                member.rank, RankStatus.DIED, time.monotonic(), pid=member.pid, exit_code=_exit_code(member.pid)
            )

    def _look_between_tests(self) -> None:
        """End a process that does not come out of what it does between tests (a class's set-up), or whose run is
        over."""
        world, now = self._world, time.monotonic()
        try:
            is_over = self._exchange.store.has(OVER)
        except StoreLostError:
            is_over = True
        is_late = now >= world.idle_deadline + _LATE_SECONDS
        is_terminated = world.terminated_at is not None and now >= world.terminated_at + _GRACE_SECONDS
        if (is_over or is_late or is_terminated) and not world.is_over:
            place = standing_now(world.rank, RankStatus.HUNG).place
            world.complain(f"rank {world.rank} ({world.own.host}) did not come to its next test; it is {place}")
            remove_own_folders()
            os._exit(ExitStatus.FAILED)

    def _tell_deaths(self, test: CurrentTest) -> None:
        """Answer for the neighbours that have died."""
        for dead in self._world.deaths.values():
            if (test.key, dead.rank) not in self._reported:
                told = dead if test.scratch is None else with_remains(dead, test.scratch.parent, test.key)
                post(self._world, test, self._exchange, Standing(told, leaves=True, is_gone=True), in_body=True)
                self._reported.add((test.key, dead.rank))

    def _status_if_stuck(self, test: CurrentTest, patience: Patience) -> RankStatus | None:
        now = time.monotonic()
        if now >= test.deadline:
            return RankStatus.HUNG
        terminated_at = self._world.terminated_at
        if terminated_at is not None and now >= terminated_at + _GRACE_SECONDS:
            # Ranks that were interrupted, too, tell that when the same grace is over, some a moment before this one.
            is_consequence = self._world.deaths or patience.saw_bad_by(terminated_at + _GRACE_SECONDS / 2)
            return RankStatus.STOPPED if is_consequence else RankStatus.INTERRUPTED
        return RankStatus.STOPPED if patience.has_waited(_GRACE_SECONDS) else None

    def _end(self, test: CurrentTest, patience: Patience, status: RankStatus) -> None:
        told = (test.end_stuck or standing_now)(self._world.rank, status)
        end_run(self._world, test, self._exchange, Standing(told, leaves=True), in_body=test.end_stuck is not None)


def _descriptors(members: Sequence[Member]) -> dict[int, Member]:
    found: dict[int, Member] = {}
    for member in members:
        with suppress(OSError):  # it has ended already, or this Python or kernel has no such descriptors
            found[os.pidfd_open(member.pid)] = member
    return found


def _exit_code(pid: int) -> int | None:
    """Return the exit code of a process that has just ended, negative for a signal; None where its parent was faster
    in taking it."""
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat") as file:
        status = int(file.read().rpartition(")")[2].split()[_EXIT_CODE_FIELD])
        return os.waitstatus_to_exitcode(status)
    return None
