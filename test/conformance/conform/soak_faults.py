"""The faults of the soak: which test has which, what rank 1 does there, and how the test has to end.

Every tenth test has one. In all of them the other ranks go on to a barrier, so that they wait for rank 1 in vain where
it does not come.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import unittest
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import shared_memory
from pathlib import Path

from bench import sentinel

#: Names the variable that is set where no test has a fault.
WITHOUT_FAULTS = "SOAK_WITHOUT_FAULTS"
#: The deadline of a test that hangs, in seconds; it has to spend it.
HANG_SECONDS = 3
_EVERY = 10
_FOREVER = 3600


@dataclass(frozen=True)
class Fault:
    """Faults of rank 1."""

    name: str  # in one or two words
    happen: Callable[[], object]  # does it, in rank 1
    status: str  # the `TestStatus` with which the test has to end, by its value
    reason: str = r"\A\Z"  # a regular expression that the entry's reason has to match


def fault_of(number: int) -> Fault | None:
    """The fault of the test with this number; None for nine of ten."""
    turn, place = divmod(number, _EVERY)
    return FAULTS[turn % len(FAULTS)] if place == _EVERY - 1 else None


def _raise(error: BaseException) -> None:
    raise error


def _leave_children() -> None:
    for is_apart in (False, True):
        subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({_FOREVER})"], start_new_session=is_apart)


def _leave_files() -> None:
    folder = Path(os.environ["TMPDIR"], "left")
    folder.mkdir()
    (folder / "file").write_bytes(bytes(1 << 20))
    folder.chmod(0)


def _leave_shared_memory() -> None:
    name = f"{sentinel.run_name()}-{os.getpid()}"
    shared_memory.SharedMemory(name, create=True, size=1 << 20).close()


FAULTS = (
    Fault("killed", lambda: os.kill(os.getpid(), signal.SIGKILL), "error", r"rank 1 \(pid \d+\) died: .*SIGKILL"),
    Fault("exits with 3", lambda: os._exit(3), "error", r"rank 1 \(pid \d+\) died: exit code 3"),
    Fault("raises", lambda: _raise(ValueError("boom")), "error", "rank 1 errored: ValueError: boom$"),
    Fault("fails alone", lambda: _raise(AssertionError("1 != 2")), "failed", "rank 1 failed: AssertionError: 1 != 2$"),
    Fault("skips alone", lambda: _raise(unittest.SkipTest("no")), "error", r"ranks disagree: rank 1 skipped \(no\)"),
    Fault("leaves children", _leave_children, "passed"),
    Fault("leaves files", _leave_files, "passed"),
    Fault("leaves shared memory", _leave_shared_memory, "passed"),
    Fault("prints much", lambda: print("much\n" * (1 << 20)), "passed"),
    Fault("hangs", lambda: time.sleep(_FOREVER), "error", "rank 1 still ran at the deadline"),
)
