"""How a rank's process is signalled: by its parent, which alone knows that the id is still the rank's.

A rank leads a process group, so that what its test starts is ended with it. A test may take its rank out of that group
and leave the group to its children, so the two are not the same.
"""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["signal_rank"]


def signal_rank(pid: int, number: int, *, alone: bool = False) -> None:
    """Signals the rank `pid`, a child that has not been reaped yet, and what is in the process group that it has made.

    Args:
        pid: the rank's process id.
        number: the signal.
        alone: not the others in its group. What asks a rank for its stacks would end a program that it waits for.
    """
    with suppress(ProcessLookupError):
        if alone or os.getpgid(pid) != pid:
            os.kill(pid, number)
    if not alone:
        with suppress(ProcessLookupError):  # the group is empty, or not made yet
            os.killpg(pid, number)
