"""Leftovers of a case's process that has ended: processes, temporary files, segments of shared memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import psutil
from bench import sentinel
from bench.measure import StartedCase

#: How long processes may take to end after the case's own, in seconds: the kernel has told them to by then.
_PATIENCE_SECONDS = 2.0
_SHARED_MEMORY = "/dev/shm"


def leftovers(started: StartedCase) -> list[str]:
    """The leftovers of a case that has ended, a line each. A segment is known by the run's name in its own."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while (processes := list(_processes(started))) and time.monotonic() < give_up:
        time.sleep(0.05)
    files = [f"left: {path}" for path in started.temporary.iterdir() if not path.name.startswith("torchinductor_")]
    segments = [f"left: {_SHARED_MEMORY}/{name}" for name in os.listdir(_SHARED_MEMORY) if started.folder.name in name]
    return [*processes, *files, *segments]


def _processes(started: StartedCase) -> Iterator[str]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(sentinel.FOLDER) == str(started.sentinels):
                yield f"left: process {process.pid} {' '.join(process.cmdline())}"
        except psutil.Error:  # ended meanwhile, or another user's
            continue
