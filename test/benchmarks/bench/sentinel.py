"""Proof that a rank came to the end of a test's body.

A harness can report a test as passed whose ranks never ran it, and then be very fast. So each rank makes one file
per test, as the last thing that the body does, and the benchmark counts them.
"""

from __future__ import annotations

import os
import time
import unittest
from collections.abc import Iterator
from pathlib import Path

#: Names the folder for the files; set by the benchmark for each process that it starts.
FOLDER = "BENCH_SENTINELS"
#: The file in that folder whose appearance ends `announce_and_wait`.
RELEASE = "release"
_PATIENCE_SECONDS = 300.0


def leave(test: unittest.TestCase) -> None:
    """Called in a rank: this rank finished `test`.

    Raises:
        FileExistsError: the same rank ran the same test twice.
    """
    leave_by_name(test.id().rpartition(".")[2], test.rank)  # type: ignore[attr-defined]


def leave_by_name(method: str, rank: int) -> None:
    """As `leave`, for what is not a test case."""
    (_folder() / f"{method}.{rank}").touch(exist_ok=False)


def found(folder: Path) -> set[tuple[str, int]]:
    """The (method, rank) pairs that finished."""
    names = (path.name.rpartition(".") for path in folder.iterdir())
    return {(method, int(rank)) for method, _, rank in names if rank.isdigit()}


def announce_and_wait(rank: int) -> None:
    """Called in a rank: says which process it is and stays idle until the benchmark has looked at it.

    Raises:
        TimeoutError: nobody released it in 300 s.
    """
    partial = _folder() / f"{rank}.partial"
    partial.write_text(str(os.getpid()))
    partial.rename(partial.with_suffix(".pid"))
    for _ in _until(time.monotonic() + _PATIENCE_SECONDS):
        if (_folder() / RELEASE).exists():
            return
        time.sleep(0.05)
    raise TimeoutError(f"rank {rank} was not released")


def run_name() -> str:
    """The name of this run of a case, which no other run on the machine has."""
    return _folder().parent.name


def notes(of: str = "") -> Path:
    """The file for what the case's process notes about itself, or a rank of it."""
    return _folder().parent / f"notes{of}"


def _until(deadline: float) -> Iterator[None]:
    while time.monotonic() < deadline:
        yield


def _folder() -> Path:
    return Path(os.environ[FOLDER])
