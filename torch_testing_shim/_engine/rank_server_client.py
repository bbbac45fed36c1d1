"""The controller's handle on a rank server (see `rank_server`): gives it orders and hears how ranks end."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.process_state import State
from torch_testing_shim._engine.rank_server import ORDER_BYTES

#: How long a rank server may take to end once its socket is closed, in seconds: it only has to kill what is left, and
#: waits half a second at most for what tidies up.
_END_SECONDS = 2.0


class ForkRefusedError(Exception):
    """Ranks cannot be started in this way; the message says why in one line."""


@dataclass(frozen=True)
class RankExit:
    """The end of a rank's process.

    Attributes:
        rank: the rank.
        pid: its process id: other ranks, of another test, may have the same number.
        exit_code: its exit code; negative for a signal.
        at: when, on the monotonic clock, in seconds.
        left: how many processes that ranks left were ended since the end that was reported before.
    """

    rank: int
    pid: int
    exit_code: int
    at: float
    left: int = 0


class RankServerClient:
    """A running rank server, a child of this process; `close` ends it and all that it started.

    Attributes:
        pid: its process id.
        state: the state in which its ranks start by themselves; None where that is not known.
    """

    _name = "the parent process of the ranks"
    #: How long it may take to start a rank, in seconds; None for any time.
    _patience: float | None = None

    def __init__(self, pid: int, orders: socket.socket, state: State | None = None) -> None:
        self.pid = pid
        self.state = state
        self._orders = orders
        self._controller_pid = os.getpid()
        self._exits: list[RankExit] = []

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

    def start_rank(self, job: RankJob, channel: int) -> int:
        """Has a rank started and returns its pid. `channel` is the rank's end; the caller still has to close it, and
        the job's descriptors.

        Raises:
            ForkRefusedError: the server cannot fork, has died or does not answer.
        """
        order = json.dumps({"order": "start", "job": job.to_json()}).encode("ascii")
        try:
            self._orders.settimeout(self._patience)
            socket.send_fds(self._orders, [order], [channel, *job.descriptors])
        except OSError as error:
            raise ForkRefusedError(f"{self._name} is gone ({error.strerror})") from None
        while True:
            try:
                event = self._receive()
            except TimeoutError:
                raise ForkRefusedError(f"{self._name} has not answered for {self._patience:g} s") from None
            if event is None:
                raise ForkRefusedError(f"{self._name} is gone")
            if event["event"] == "started":
                return int(str(event["pid"]))
            if event["event"] == "refused":
                raise ForkRefusedError(str(event["reason"]))
            self._note_exit(event)

    def signal(self, pid: int, number: int, *, alone: bool = False) -> None:
        """Signals the rank `pid`, and unless `alone` its process group; nothing happens where it has ended."""
        order = {"order": "signal", "pid": pid, "signal": int(number), "alone": alone}
        with suppress(OSError):
            self._orders.send(json.dumps(order).encode("ascii"))

    def read_exits(self) -> list[RankExit]:
        """The ranks' ends that have been reported since the last call, without waiting.

        Raises:
            ForkRefusedError: the server has died, and with it every rank.
        """
        self._orders.setblocking(False)
        try:
            while True:
                event = self._receive()
                if event is None:
                    raise ForkRefusedError(f"{self._name} died, and the ranks with it")
                self._note_exit(event)
        except BlockingIOError:
            pass
        finally:
            self._orders.setblocking(True)
        exits, self._exits = self._exits, []
        return exits

    def close(self) -> None:
        """Ends the server, every rank and all that ranks have left, and waits for the server's end."""
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
        """The next event; None when the server is gone."""
        try:
            message = self._orders.recv(ORDER_BYTES)
        except ConnectionError:
            return None
        event: dict[str, object] | None = json.loads(message) if message else None
        return event

    def _note_exit(self, event: dict[str, object]) -> None:
        if event["event"] == "ended":
            rank, pid, exit_code, left = (int(str(event[name])) for name in ("rank", "pid", "exit_code", "left"))
            self._exits.append(RankExit(rank, pid, exit_code, float(str(event["at"])), left))
