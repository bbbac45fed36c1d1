"""The zygote's own code: take orders from the controller, fork ranks, report how they end.

The zygote stays pristine: it runs no test, starts no thread and touches no accelerator, so that what it forks starts
like a new interpreter that has done its imports. It checks this before each fork and refuses where it does not hold.

    controller --{"order": "start", "job": ...} + channel--> zygote --fork--> rank
               --{"order": "signal", ...}----------------->
               <--{"event": "started" | "refused" | "ended"}
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.parent_death import adopt_orphans, signal_on_parent_death
from torch_testing_shim._engine.rank_main import run_rank
from torch_testing_shim._engine.threads import thread_count

__all__ = ["ORDER_BYTES", "children_of_this_process", "serve"]

#: The longest order; a job is a few hundred bytes, and a packet socket takes some 200 kB.
ORDER_BYTES = 1 << 16


def serve(orders: socket.socket, controller_pid: int, preload: Sequence[str]) -> NoReturn:
    """Runs the zygote in this process until the controller closes its end, then ends every rank and the process.

    Args:
        orders: the zygote's end of the socket.
        controller_pid: the process whose death ends this one.
        preload: modules that tests import lazily, to be imported here once and not by every rank.
    """
    try:
        zygote = _Zygote(orders)
        signal_on_parent_death(controller_pid, signal.SIGTERM)
        adopt_orphans()
        for name in preload:
            with suppress(ImportError):  # this torch does not have it; a test that wants it will say so
                importlib.import_module(name)
        gc.freeze()  # what is here now is never collected, so ranks do not copy its pages by collecting
        zygote.run()
    finally:
        os._exit(0)


class _Zygote:
    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._ranks: dict[int, int] = {}  # pid -> rank
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the controller's to handle
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)

    def run(self) -> None:
        while True:
            ready, _, _ = select.select([self._orders.fileno(), self._wake], [], [])
            if self._wake in ready:
                with suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                self._reap()
            if self._orders.fileno() in ready and not self._take_order():
                self._end()

    def _take_order(self) -> bool:
        """Carries out one order; False when the controller is gone."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self._orders, ORDER_BYTES, 1)
        except ConnectionError:
            return False
        if not message:
            return False
        order = json.loads(message)
        if order["order"] == "start":
            self._start(RankJob.from_json(order["job"]), descriptors[0])
        else:
            self._signal(order["pid"], order["signal"])
        return True

    def _start(self, job: RankJob, channel: int) -> None:
        threads = thread_count()
        try:
            if threads != 1:
                raise OSError(f"{threads} threads run in the process that ranks are forked from")
            zygote_pid = os.getpid()
            pid = os.fork()
        except OSError as error:
            os.close(channel)
            self._tell({"event": "refused", "rank": job.rank, "reason": str(error)})
            return
        if pid == 0:
            for descriptor in (self._orders.fileno(), self._wake, self._waker):
                os.close(descriptor)
            run_rank(job, channel, zygote_pid)
        with suppress(OSError):
            os.setpgid(pid, pid)  # here too: a signal to the group must not come before the rank has made it
        os.close(channel)
        self._ranks[pid] = job.rank
        self._tell({"event": "started", "rank": job.rank, "pid": pid})

    def _signal(self, pid: int, number: int) -> None:
        """Signals a rank's process group. Only a rank that has not been reaped, so the id is certainly its own."""
        if pid in self._ranks:
            with suppress(ProcessLookupError):
                os.killpg(pid, number)

    def _reap(self) -> None:
        while (ended := self._ended_child()) is not None:
            rank = self._ranks.pop(ended, None)
            if rank is not None:  # what the rank started and left goes with it
                with suppress(ProcessLookupError):
                    os.killpg(ended, signal.SIGKILL)
            _, status = os.waitpid(ended, 0)
            if rank is not None:
                code = os.waitstatus_to_exitcode(status)
                self._tell({"event": "ended", "rank": rank, "pid": ended, "exit_code": code, "at": time.monotonic()})
        if not self._ranks:
            _kill_orphans()

    def _ended_child(self) -> int | None:
        with suppress(ChildProcessError):
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return ended.si_pid if ended else None
        return None

    def _tell(self, event: dict[str, Any]) -> None:
        try:
            self._orders.send(json.dumps(event).encode("ascii"))
        except OSError:
            self._end()

    def _end(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for pid in self._ranks:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self._ranks.clear()
        _kill_orphans()
        os._exit(0)


def _kill_orphans() -> None:
    """Ends what ranks left behind outside their process groups: it has become this process's child."""
    while children := children_of_this_process():
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        for child in children:
            with suppress(ChildProcessError):
                os.waitpid(child, 0)


def children_of_this_process() -> list[int]:
    """The ids of this process's children, ended ones that wait to be reaped included. Linux only: none elsewhere."""
    if sys.platform != "linux":
        return []
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # the usual case, told without reading /proc
        return []
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError), open(f"/proc/{entry}/stat", "rb") as stat:
                if int(stat.read().rpartition(b")")[2].split()[1]) == os.getpid():
                    found.append(int(entry))
    return found
