"""The rank server, parent of all ranks: takes orders from the controller, starts ranks, reports how they end, and ends
what they leave.

It is one thread that does nothing else, so that it may fork. Processes that ranks start and leave become its children,
also those in sessions of their own. When the controller is gone, it ends all of them, and then itself. It imports no
torch.

    controller --{"order": "start", "job": ...} + channel--> server --fork--> rank
               --{"order": "signal", ...}----------------->
               <--{"event": "started" | "refused" | "ended"}
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.leftovers import (
    children_of_this_process,
    end_group,
    is_of_a_test,
    is_tidying,
    remove_segments,
)
from torch_testing_shim._engine.threads import lasting_thread_count
from torch_testing_shim._shared.parent_death import adopt_orphans, signal_on_parent_death

#: The longest order; a job is a few hundred bytes, and a packet socket takes some 200 kB.
ORDER_BYTES = 1 << 16
#: The most descriptors that a message can carry (Linux).
MOST_DESCRIPTORS = 253
#: How long processes that tidy up after a rank may take once it has ended, in seconds; they take milliseconds.
_TIDYING_SECONDS = 1.0
#: How long what ranks have left may take to end once it is killed, in seconds.
_ORPHAN_SECONDS = 1.0
#: How long the same may take after the controller's end, in seconds: all has to be gone within 2.
_LAST_TIDYING_SECONDS = 0.5


class RankServer:
    """The rank server that this process is.

    Args:
        orders: its end of the socket to the controller.
        controller_pid: the process whose death ends this one.
        enter: carries out a job in a forked process, given its channel with the job's descriptors, and the server's
            pid.
        prepare: makes this process ready to be forked for a job; raises OSError where it must not be.
    """

    def __init__(
        self,
        orders: socket.socket,
        controller_pid: int,
        enter: Callable[[RankJob, Sequence[int], int], NoReturn],
        prepare: Callable[[RankJob], None] = lambda job: None,
    ) -> None:
        self._orders = orders
        self._enter = enter
        self._prepare = prepare
        self._ranks: dict[int, int] = {}  # pid -> rank
        self._tidying: dict[int, float] = {}  # pid -> when it is ended by force
        self._ended: set[int] = set()  # pids of ranks, until no rank is left
        self._left: set[int] = set()  # processes that ranks left, not yet reported to the controller
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the controller handles the terminal's Ctrl-C
        self._hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # and the terminal's end
        self._controller_pid = controller_pid
        signal.signal(signal.SIGTERM, self._take_sigterm)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        adopt_orphans()
        signal_on_parent_death(controller_pid, signal.SIGTERM)

    def run(self) -> None:
        """Take orders until the controller closes its end, then end every rank."""
        while True:
            patience = max(0.0, min(self._tidying.values()) - time.monotonic()) if self._tidying else None
            ready, _, _ = select.select([self._orders.fileno(), self._wake], [], [], patience)
            if self._wake in ready:
                with suppress(BlockingIOError):
                    os.read(self._wake, 4096)
            if self._wake in ready or self._tidying:
                self._end_overdue()
                self._reap()
            if self._orders.fileno() in ready and not self._take_order():
                self._end()
                return

    def _take_order(self) -> bool:
        """Carry out one order; False when the controller is gone."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self._orders, ORDER_BYTES, MOST_DESCRIPTORS)
        except ConnectionError:
            return False
        if not message:
            return False
        order = json.loads(message)
        if order["order"] == "start":
            self._start(RankJob.from_json(order["job"]), descriptors)
        else:
            self._signal(order["pid"], order["signal"], alone=order["alone"])
        return True

    def _start(self, job: RankJob, descriptors: Sequence[int]) -> None:
        try:
            self._prepare(job)
            if (threads := lasting_thread_count()) != 1:
                raise OSError(f"{threads} threads run in the process that ranks are forked from")
            pid = self._fork(job, descriptors)
        except OSError as error:
            _close(descriptors)
            self._tell({"event": "refused", "rank": job.rank, "reason": str(error)})
            return
        with suppress(OSError):
            os.setpgid(pid, pid)  # here too: a signal to the group must not come before the rank has made it
        _close(descriptors)
        self._ranks[pid] = job.rank
        self._tell({"event": "started", "rank": job.rank, "pid": pid})

    def _fork(self, job: RankJob, descriptors: Sequence[int]) -> int:
        """Fork a rank, without the server's signal handlers: a SIGTERM would make it end the other ranks."""
        server_pid = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            pid = os.fork()
            if pid == 0:
                self._become_rank(job, descriptors, server_pid, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def _become_rank(self, job: RankJob, descriptors: Sequence[int], server_pid: int, mask: Iterable[int]) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, self._hang_up)
            for descriptor in (self._orders.fileno(), self._wake, self._waker):
                os.close(descriptor)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self._enter(job, descriptors, server_pid)
        finally:
            os._exit(1)

    def _signal(self, pid: int, number: int, *, alone: bool) -> None:
        """Signal a rank that has not been reaped, so that the id is certainly its own. SIGKILL is for the rank alone:
        what it leaves is ended once it has ended, in the order that this takes."""
        if pid in self._ranks:
            signal_rank(pid, number, alone=alone or number == signal.SIGKILL)

    def _reap(self) -> None:
        ends = []
        while (ended := _ended_child()) is not None:
            at = time.monotonic()
            self._tidying.pop(ended, None)
            rank = self._ranks.pop(ended, None)
            if rank is not None and self._has_orphans(ended):
                self._left |= end_group(ended)
            _, status = os.waitpid(ended, 0)
            if rank is not None:
                self._ended.add(ended)
                code = os.waitstatus_to_exitcode(status)
                ends.append({"event": "ended", "rank": rank, "pid": ended, "exit_code": code, "at": at})
        if not self._ranks:
            self._left |= self._end_orphans(_TIDYING_SECONDS)
            if self._ended:
                remove_segments(self._ended)
                self._ended.clear()
        for end in ends:
            self._tell(end | {"left": len(self._left)})
            self._left.clear()

    def _has_orphans(self, *ended: int) -> bool:
        """Whether ranks have left any process, besides ranks that have `ended` and were not reaped yet. True where the
        system does not tell."""
        children = children_of_this_process()
        return not children or any(pid not in self._ranks and pid not in ended for pid in children)

    def _end_orphans(self, patience: float) -> set[int]:
        """End what ranks have left, in their groups and outside, once no rank runs; return which processes. Those
        that tidy up have `patience` seconds."""
        ended: set[int] = set()
        give_up = time.monotonic() + _ORPHAN_SECONDS
        while doomed := [pid for pid in children_of_this_process() if pid not in self._tidying]:
            if time.monotonic() >= give_up:
                break
            for pid in doomed:
                if is_tidying(pid):
                    self._tidying[pid] = time.monotonic() + patience
                    continue
                if is_of_a_test(pid):
                    ended.add(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                _take_away(pid, give_up)
        return ended

    def _end_overdue(self) -> None:
        """Kill processes that should have tidied up by now; `_reap` takes them away."""
        for pid, until in self._tidying.items():
            if time.monotonic() >= until:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _tell(self, event: dict[str, Any]) -> None:
        try:
            self._orders.send(json.dumps(event).encode("ascii"))
        except OSError:
            self._end()

    def _take_sigterm(self, *_: object) -> None:
        """End all where the controller has ended. A SIGTERM to the whole process group, as `timeout` sends it, is left
        to the controller, which first wants to know where the ranks stand."""
        if os.getppid() != self._controller_pid:
            self._end()

    def _end(self) -> None:
        """End the ranks, all that they have left, and this process."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for pid in self._ranks:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in self._ranks:
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        if self._has_orphans():
            for pid in self._ranks:
                end_group(pid)
        self._end_orphans(_LAST_TIDYING_SECONDS)  # and reaps the ranks
        remove_segments(self._ended.union(self._ranks))
        give_up = time.monotonic() + _LAST_TIDYING_SECONDS
        while children_of_this_process() and time.monotonic() < give_up:
            time.sleep(0.005)
            while (ended := _ended_child()) is not None:
                os.waitpid(ended, 0)
                self._tidying.pop(ended, None)
        self._tidying = dict.fromkeys(self._tidying, 0.0)
        self._end_overdue()


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _take_away(pid: int, until: float) -> None:
    """Wait for a killed child. The kernel takes milliseconds, and where a device does not answer, for ever."""
    with suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < until:
            time.sleep(0.001)


def _ended_child() -> int | None:
    with suppress(ChildProcessError):
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return ended.si_pid if ended else None
    return None


def signal_rank(pid: int, number: int, *, alone: bool = False) -> None:
    """Signal the rank `pid`, a child that has not been reaped yet, and unless `alone` the process group that it has
    made.

    A rank leads a process group, so that what its test starts is ended with it. A test may take its rank out of that
    group and leave the group to its children, so the two are not the same. The signal that asks a rank for its stacks
    is for the rank alone: it would end a program that the rank waits for.
    """
    with suppress(ProcessLookupError):
        if alone or os.getpgid(pid) != pid:
            os.kill(pid, number)
    if not alone:
        with suppress(ProcessLookupError):  # the group is empty, or not made yet
            os.killpg(pid, number)
