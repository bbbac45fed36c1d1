"""The controller's handle on its zygote: the pristine process that ranks are forked from (see `zygote_main`)."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.threads import thread_count
from torch_testing_shim._engine.zygote_main import ORDER_BYTES, serve

__all__ = ["ForkRefusedError", "RankExit", "Zygote"]

#: How long the zygote may take to end once its socket is closed; it only has to kill what is left.
_END_SECONDS = 2.0


class ForkRefusedError(Exception):
    """Ranks cannot be forked in this process; the message says why in one line."""


@dataclass(frozen=True)
class RankExit:
    """The end of a rank's process: its exit code (negative: the signal) and when, on the monotonic clock."""

    rank: int
    exit_code: int
    at: float


class Zygote:
    """A running zygote. `start` makes one; `close` ends it and all that it forked."""

    def __init__(self, pid: int, orders: socket.socket) -> None:
        self.pid = pid
        self._orders = orders
        self._controller_pid = os.getpid()
        self._exits: list[RankExit] = []
        self.modules = frozenset(sys.modules)

    @classmethod
    def start(cls, preload: Sequence[str] = ()) -> Zygote:
        """Forks a zygote from this process.

        Threads that their library ends before a fork (OpenBLAS does) are no hazard; those that live on across it
        are, since they may have held locks. So they are counted after the fork, when the first kind is gone.

        Raises:
            ForkRefusedError: there is no fork here, or threads were running across it.
        """
        if sys.platform != "linux":
            raise ForkRefusedError(f"fork is not safe on {sys.platform}")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        controller_pid = os.getpid()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        pid = os.fork()
        if pid == 0:
            ours.close()
            serve(theirs, controller_pid, preload)
        theirs.close()
        zygote = cls(pid, ours)
        threads = thread_count()
        if threads > 1:
            zygote.close()
            raise ForkRefusedError(f"{threads} threads are running in the test process")
        return zygote

    @property
    def is_usable(self) -> bool:
        """False once it was closed or has died, and in a process that was itself forked from the controller."""
        if self._orders.fileno() < 0 or self._controller_pid != os.getpid():
            return False
        try:
            return os.waitpid(self.pid, os.WNOHANG) == (0, 0)
        except ChildProcessError:
            return False

    def fileno(self) -> int:
        return self._orders.fileno()

    def fork_rank(self, job: RankJob, channel: int) -> int:
        """Has a rank forked and returns its pid. `channel` is the rank's end; the caller still has to close it.

        Raises:
            ForkRefusedError: the zygote cannot fork, or has died.
        """
        order = json.dumps({"order": "start", "job": job.to_json()}).encode("ascii")
        try:
            socket.send_fds(self._orders, [order], [channel])
        except OSError as error:
            raise ForkRefusedError(f"the process that ranks are forked from is gone ({error.strerror})") from None
        while True:
            event = self._receive()
            if event is None:
                raise ForkRefusedError("the process that ranks are forked from is gone")
            if event["event"] == "started":
                return int(str(event["pid"]))
            if event["event"] == "refused":
                raise ForkRefusedError(str(event["reason"]))
            self._note_exit(event)

    def signal(self, pid: int, number: int) -> None:
        """Signals the process group of the rank `pid`; nothing happens where it has ended."""
        with suppress(OSError):
            self._orders.send(json.dumps({"order": "signal", "pid": pid, "signal": int(number)}).encode("ascii"))

    def read_exits(self) -> list[RankExit]:
        """The ranks' ends that have been reported since the last call, without waiting.

        Raises:
            ForkRefusedError: the zygote has died, and with it every rank.
        """
        self._orders.setblocking(False)
        try:
            while True:
                event = self._receive()
                if event is None:
                    raise ForkRefusedError("the process that ranks are forked from died, and the ranks with it")
                self._note_exit(event)
        except BlockingIOError:
            pass
        finally:
            self._orders.setblocking(True)
        exits, self._exits = self._exits, []
        return exits

    def close(self) -> None:
        """Ends the zygote and every rank, and waits for the zygote's end."""
        if self._orders.fileno() < 0:
            return
        self._orders.close()
        if self._controller_pid != os.getpid():
            return
        give_up = time.monotonic() + _END_SECONDS
        with suppress(ChildProcessError):
            while os.waitpid(self.pid, os.WNOHANG) == (0, 0):
                if time.monotonic() > give_up:
                    os.kill(self.pid, signal.SIGKILL)
                    os.waitpid(self.pid, 0)
                    return
                time.sleep(0.002)

    def _receive(self) -> dict[str, object] | None:
        """The next event; None when the zygote is gone."""
        try:
            message = self._orders.recv(ORDER_BYTES)
        except ConnectionError:
            return None
        event: dict[str, object] | None = json.loads(message) if message else None
        return event

    def _note_exit(self, event: dict[str, object]) -> None:
        if event["event"] == "ended":
            self._exits.append(RankExit(int(str(event["rank"])), int(str(event["exit_code"])), float(str(event["at"]))))
