"""What runs in the child between fork and exec. It may import nothing: only what is loaded before the fork is safe."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

__all__ = ["die_with_this_process"]

#: From Linux's <sys/prctl.h>: the signal that the kernel sends to the caller when its parent dies.
PR_SET_PDEATHSIG = 1


def die_with_this_process() -> Callable[[], None] | None:
    """A `preexec_fn` that has the kernel kill the child when the calling process dies, whatever it dies of.

    None where there is no such thing: only Linux has it.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the line above
            os._exit(1)

    return prepare
