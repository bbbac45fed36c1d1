"""The processes of a test file, and how they are ended: everything that the file started goes with it.

A process belongs to a test file when it lies in the session that the file's process leads, or when its environment
holds the file's mark. The mark finds a process that has started its own session and lost its parent, which neither
process groups nor a walk from parent to child would find.

A file's process that is ended early is asked first, then forced. Nothing here waits: generators yield meanwhile.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass

import psutil

from torch_testing_shim._shared.stack_request import STACK_REQUEST

from .child_process import ChildProcess
from .command import MARK_VARIABLE

#: The time between SIGTERM and SIGKILL, in seconds: a rank's clean-up is short.
TERMINATE_GRACE = 1.0
#: The time for the kernel to remove processes after SIGKILL, in seconds: only one stuck in a driver stays longer.
KILL_GRACE = 5.0
#: The time for a file to end by itself after Ctrl-C, in seconds: it collects the stacks of its ranks, which takes up to
#: 2 s, and ends them.
INTERRUPT_GRACE = 4.0
#: The time for a hanging file to print its stacks, in seconds: it takes milliseconds.
STACKS_GRACE = 0.5

#: A procedure that yields where it would wait.
Waiting = Generator[None, None, None]


@dataclass(frozen=True)
class ProcessTree:
    """The processes of one test file."""

    session: int  # process id of the file's own process, which leads a session
    mark: str  # the value of MARK_VARIABLE in its environment

    def members(self) -> list[psutil.Process]:
        """The processes that live now, zombies left out."""
        return [process for process in psutil.process_iter() if self._has(process)]

    def end(self, grace: float) -> Generator[None, None, int]:
        """Yield until `grace` seconds have passed or no process is left, then end the others by SIGTERM, then SIGKILL;
        return the number of these."""
        left = yield from _until_gone(self.members(), grace)
        for process in left:
            _send(process.terminate)
        if left:
            yield from _until_gone(left, TERMINATE_GRACE)
            self.kill()
        return len(left)

    def kill(self) -> None:
        """SIGKILL to all members until there are none, for a process may fork while it is being killed."""
        deadline = time.monotonic() + KILL_GRACE
        while (left := self.members()) and time.monotonic() < deadline:
            for process in left:
                _send(process.kill)
            time.sleep(0.01)

    def _has(self, process: psutil.Process) -> bool:
        try:
            if process.pid == os.getpid():
                return False
            is_ours = os.getsid(process.pid) == self.session or process.environ().get(MARK_VARIABLE) == self.mark
            return is_ours and bool(process.status() != psutil.STATUS_ZOMBIE)
        except (psutil.Error, OSError):  # ended meanwhile, or another user's
            return False


def _send(signal_method: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        signal_method()


def _until_gone(processes: list[psutil.Process], seconds: float) -> Generator[None, None, list[psutil.Process]]:
    """Yield until all have ended, for `seconds` at most; return the others."""
    deadline = time.monotonic() + seconds
    while True:
        processes = [process for process in processes if _lives(process)]
        if not processes or time.monotonic() >= deadline:
            return processes
        yield


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def ask_for_stacks(child: ChildProcess) -> Waiting:
    """Have the process print its stacks, before Ctrl-C changes them."""
    if not child.has_ended():
        os.kill(child.pid, STACK_REQUEST)
        yield from _until_ended(child, STACKS_GRACE)


def end_early(child: ChildProcess, tree: ProcessTree) -> Waiting:
    """Pass Ctrl-C on to the process's group, yield until it has ended, and force it where it does not end."""
    child.signal(signal.SIGINT)
    yield from _until_ended(child, INTERRUPT_GRACE)
    if not child.has_ended():
        yield from ask_for_stacks(child)
        yield from tree.end(grace=0.0)
        yield from _until_ended(child, INTERRUPT_GRACE)


def _until_ended(child: ChildProcess, patience: float) -> Waiting:
    """Yield until the process has ended, for `patience` seconds at most."""
    deadline = time.monotonic() + patience
    while not child.has_ended() and time.monotonic() < deadline:
        yield
