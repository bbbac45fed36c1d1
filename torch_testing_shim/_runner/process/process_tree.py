"""Which processes a test file has started, and how they are ended: whatever it started goes with it.

A process belongs to a test file when it lies in the session that the file's process leads, or when its environment
carries the file's mark. The second finds what started a session of its own and lost its parent, which neither process
groups nor a walk from parent to child would find.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass

import psutil

from .command import MARK_VARIABLE

__all__ = ["ProcessTree"]

#: How long processes have to end by themselves after SIGTERM before SIGKILL, in seconds: a rank's clean-up is short.
TERMINATE_GRACE = 1.0
#: How long to wait for the kernel to take processes away after SIGKILL, in seconds: only one stuck in a driver stays.
KILL_GRACE = 5.0


@dataclass(frozen=True)
class ProcessTree:
    """The processes of one test file.

    Attributes:
        session: process id of the file's own process, which leads a session.
        mark: the value of MARK_VARIABLE in its environment.
    """

    session: int
    mark: str

    def members(self) -> list[psutil.Process]:
        """The processes that live now; those that have ended and were not collected by their parent do not count."""
        return [process for process in psutil.process_iter() if self._has(process)]

    def end(self, grace: float) -> Generator[None, None, int]:
        """Yields until `grace` seconds have passed or nothing is left, then ends what is left by SIGTERM, then SIGKILL;
        returns how many that were."""
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
    """Yields until all have ended, for `seconds` at most; returns those that have not."""
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
