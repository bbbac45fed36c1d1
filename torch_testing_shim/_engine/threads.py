"""How many threads this process has: a process with more than one is no safe one to fork."""

from __future__ import annotations

import os

__all__ = ["thread_count"]


def thread_count() -> int:
    """Threads of this process, those of C++ libraries included; 1 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1
