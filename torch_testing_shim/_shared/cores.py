"""The number of cores that this process may use."""

from __future__ import annotations

import os


def core_count() -> int:
    """Cores that the system lets this process run on, 1 or more; all cores where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
