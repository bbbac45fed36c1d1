"""The three rank servers (see `rank_server`), as the controller starts them and holds them.

    controller --fork--> zygote       --fork-->       rank 0 ... rank N-1
               --exec--> fork server  --fork-->       rank 0 ... rank N-1
               --exec--> supervisor   --fork, exec--> rank 0 ... rank N-1

* The zygote is a copy of the test process, and pristine (see `zygote_main`).
* The fork server is a zygote that is a new interpreter. It is used where the test process cannot be forked: threads run
  in it, as pytest-xdist's do, or it uses an accelerator. It imports once what the test process has imported for its
  tests, and is pristine unless the test's module itself starts threads or a driver.
* The supervisor is a small interpreter without torch, whose ranks are new interpreters too. It is used where nothing
  may be forked.

New interpreters read from a file how to become like the test process (see `new_interpreter`).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch_testing_shim._engine.job import RankJob, ScratchFolder
from torch_testing_shim._engine.new_interpreter import (
    become_fork_server,
    interpreter_command,
    likeness,
    program_that_calls,
    supervise,
)
from torch_testing_shim._engine.process_state import State, as_ranks_start, state_of_this_process
from torch_testing_shim._engine.rank_server import ORDER_BYTES
from torch_testing_shim._engine.threads import fork_quietly, python_thread_count, thread_count_after_fork
from torch_testing_shim._engine.zygote_main import serve

#: How long a fork server may take to import what a test needs and to fork its first rank, in seconds: torch is read
#: from a cold disk in less. An import that ends in the test process may never end there: it may wait for a lock that
#: the test process holds.
_START_SECONDS = 120.0
#: How long a rank server may take to end once its socket is closed, in seconds: it only has to kill what is left, and
#: waits half a second at most for what tidies up.
_END_SECONDS = 2.0


class ForkRefusedError(Exception):
    """Ranks cannot be started in this way; the message says why in one line."""


@dataclass(frozen=True)
class RankExit:
    """The end of a rank's process."""

    rank: int
    pid: int  # other ranks, of another test, may have the same number
    exit_code: int  # negative for a signal
    at: float  # on the monotonic clock, in seconds
    left: int = 0  # how many processes that ranks left were ended since the end that was reported before


class RankServerClient:
    """A running rank server, a child of this process, which gets orders and tells how ranks end; `close` ends it and
    all that it started.

    Args:
        pid: its process id.
        orders: this process's end of its socket.
        name: what people know it as.
        state: the state in which its ranks start by themselves; None where that is not known.
        modules: the modules whose tests it can start ranks for; None for all.
        patience: how long it may take to start a rank, in seconds; None for any time.
    """

    def __init__(
        self,
        pid: int,
        orders: socket.socket,
        name: str,
        *,
        state: State | None = None,
        modules: Container[str] | None = None,
        patience: float | None = None,
    ) -> None:
        self.pid = pid
        self.state = state
        self._orders = orders
        self._name = name
        self._modules = modules
        self._patience = patience
        self._controller_pid = os.getpid()
        self._exits: list[RankExit] = []

    def can_have(self, module: str) -> bool:
        """Whether it has the test module of this name, or imports it when a rank is to run a test of it."""
        return self._modules is None or module in self._modules

    @property
    def is_copy(self) -> bool:
        """Whether it was forked from this process."""
        return self._modules is not None

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
        """Have a rank started and return its pid. `channel` is the rank's end; the caller still has to close it, and
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
                return int(event["pid"])
            if event["event"] == "refused":
                raise ForkRefusedError(str(event["reason"]))
            self._note_exit(event)

    def signal(self, pid: int, number: int, *, alone: bool = False) -> None:
        """Signal the rank `pid`, and unless `alone` its process group; nothing happens where it has ended."""
        order = {"order": "signal", "pid": pid, "signal": int(number), "alone": alone}
        with suppress(OSError):
            self._orders.send(json.dumps(order).encode("ascii"))

    def read_exits(self) -> list[RankExit]:
        """The ranks' ends that have been reported since the last call, without waiting. Raise `ForkRefusedError` where
        the server has died, and with it every rank."""
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
        """End the server, every rank and all that ranks have left, and wait for the server's end."""
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

    def _receive(self) -> dict[str, Any] | None:
        """The next event; None when the server is gone."""
        try:
            message = self._orders.recv(ORDER_BYTES)
        except ConnectionError:
            return None
        event: dict[str, Any] | None = json.loads(message) if message else None
        return event

    def _note_exit(self, event: dict[str, Any]) -> None:
        if event.pop("event") == "ended":
            self._exits.append(RankExit(**event))


def start_zygote(preload: Sequence[str] = ()) -> RankServerClient:
    """Fork a zygote from this process. It imports the modules of `preload` ahead.

    Threads that their library ends before a fork (OpenBLAS does) do no harm; those that live on across it may, since
    they may have held locks. So they are counted after the fork, when the first kind is gone.

    Raises:
        ForkRefusedError: there is no fork here, or threads were running across it.
    """
    if sys.platform != "linux":
        raise ForkRefusedError(f"fork is not safe on {sys.platform}")
    _check_threads(python_thread_count())
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    controller_pid = os.getpid()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    state = as_ranks_start(state_of_this_process())
    pid = fork_quietly()
    if pid == 0:
        ours.close()
        serve(theirs, controller_pid, preload)
    theirs.close()
    name = "the process that ranks are forked from"
    zygote = RankServerClient(pid, ours, name, state=state, modules=frozenset(sys.modules))
    try:
        _check_threads(thread_count_after_fork())
    except ForkRefusedError:
        zygote.close()
        raise
    return zygote


def _check_threads(count: int) -> None:
    if count > 1:
        raise ForkRefusedError(f"{count} threads are running in the test process")


def start_fork_server(folder: ScratchFolder, preload: Sequence[str]) -> RankServerClient:
    """Start a fork server. It imports the modules of `preload` ahead, and may still do so when it is returned. The
    scratch folder, of the first test, lasts until its ranks have started.

    Raises:
        OSError: the system has no more processes or descriptors to give.
        RuntimeError: this process is itself a rank that imports its main module.
    """
    folder.preparation.write_text(json.dumps({**likeness(), "preload": list(preload)}))
    # Discard its output: the test process has already printed what its module prints when it is imported.
    pid, orders = _start_interpreter(become_fork_server, str(folder.preparation), output=subprocess.DEVNULL)
    return RankServerClient(pid, orders, "the interpreter that ranks are forked from", patience=_START_SECONDS)


def start_supervisor(folder: ScratchFolder) -> RankServerClient:
    """Start the supervisor of one test's ranks. Each test has a new one, since it hands on the environment and the
    working folder that the test process has now. Raise as `start_fork_server`."""
    folder.preparation.write_text(json.dumps(likeness()))
    pid, orders = _start_interpreter(supervise, interpreter_command())
    return RankServerClient(pid, orders, "the process that started the ranks")


def _start_interpreter(
    server: Callable[..., object], argument: object, output: int | None = None
) -> tuple[int, socket.socket]:
    """Start a new interpreter that becomes a rank server. Return its id and this process's end of the socket.
    `server` runs in it, given its end of the socket, this process's id and `argument`; it prints to `output`, as
    `subprocess` takes it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = program_that_calls(server, theirs.fileno(), os.getpid(), argument)
    with theirs:
        try:
            command = [*interpreter_command(), program]
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=[theirs.fileno()]
            )
        except BaseException:
            ours.close()
            raise
    process.returncode = 0  # `RankServerClient` waits for it
    return process.pid, ours
