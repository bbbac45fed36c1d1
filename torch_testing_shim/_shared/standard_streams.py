"""Streams that a process was started without: cron, daemons and `>&-` close them. Standard library only."""

from __future__ import annotations

import functools
import os
import sys


@functools.cache
def open_standard_streams() -> None:
    """Open the standard streams that this process was started without, on the null device; only at the first call,
    since what a test closes stays closed.

    Without it, the next file that is opened would get the number of a closed descriptor, and with it what others print;
    and much code that prints asks for a stream.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            stream = open(number, "w" if number else "r", errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
