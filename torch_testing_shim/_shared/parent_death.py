"""A process that asks the kernel for a signal when its parent dies, so that a killed controller leaves no orphans."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
from collections.abc import Callable

__all__ = ["adopt_orphans", "signal_on_parent_death"]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def signal_on_parent_death(parent_pid: int, number: signal.Signals) -> None:
    """Has the kernel send signal `number` to this process when its parent, `parent_pid`, dies. Linux only; nothing
    happens elsewhere. If the parent is dead already, the signal comes now."""
    if sys.platform != "linux":
        return
    _prctl()(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent_pid:  # it died between the fork and the call above
        os.kill(os.getpid(), number)


def adopt_orphans() -> None:
    """Makes this process the parent of its descendants' orphans, so that it can end them. Linux only."""
    if sys.platform == "linux":
        _prctl()(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@functools.cache  # a process finds it ready that was forked from one that has called it
def _prctl() -> Callable[..., int]:
    return ctypes.CDLL(None).prctl
