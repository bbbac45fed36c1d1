"""Processes that die with their parent, so that a killed controller or runner leaves no orphans. Linux only."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
from collections.abc import Callable

#: From Linux's <sys/prctl.h>: the signal that the kernel sends to the caller when its parent dies.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def signal_on_parent_death(parent_pid: int, number: signal.Signals) -> None:
    """Have the kernel send signal `number` to this process when its parent, `parent_pid`, dies. Linux only; nothing
    happens elsewhere. If the parent is dead already, the signal comes now."""
    if sys.platform != "linux":
        return
    _prctl()(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent_pid:  # it died between the fork and the call above
        os.kill(os.getpid(), number)


def die_with_this_process() -> Callable[[], None] | None:
    """A `preexec_fn` that has the kernel kill the child when the calling process dies, whatever it dies of; None where
    the system cannot do that."""
    if sys.platform != "linux":
        return None
    _prctl()  # before the fork: between it and exec, importing and loading are not safe
    return functools.partial(signal_on_parent_death, os.getpid(), signal.SIGKILL)


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans, so that it can end them. Linux only."""
    if sys.platform == "linux":
        _prctl()(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@functools.cache  # a process finds it ready that was forked from one that has called it
def _prctl() -> Callable[..., int]:
    return ctypes.CDLL(None).prctl
