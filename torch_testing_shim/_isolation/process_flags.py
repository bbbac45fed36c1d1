"""Flags that Linux keeps of a process: parts of the state that a reused rank puts back. Other systems have none."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

from torch_testing_shim._isolation.kept_parts import Part

__unittest = True  # unittest and pytest leave the frames of this module out of a report

#: From <sys/prctl.h>: flags that prctl returns, with the numbers that read and set them.
_RETURNED = {"PR_DUMPABLE": (3, 4), "PR_TIMERSLACK": (30, 29), "PR_NO_NEW_PRIVS": (39, 38), "PR_THP_DISABLE": (42, 41)}
#: Flags that prctl writes to an int. With the first, a rank ends when its controller does.
_WRITTEN = {"PR_PDEATHSIG": (2, 1), "PR_CHILD_SUBREAPER": (37, 36)}
_OOM_SCORE = Path("/proc/self/oom_score_adj")


def process_flags() -> list[Part]:
    """Return the parts. One that cannot be put back, as PR_NO_NEW_PRIVS, is said to be left."""
    if sys.platform != "linux":
        return []
    prctl: Any = ctypes.CDLL(None).prctl
    prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)

    def returned(read: int) -> int:
        return int(prctl(read, 0, 0, 0, 0))

    def written(read: int) -> int:
        value = ctypes.c_int()
        prctl(read, ctypes.addressof(value), 0, 0, 0)
        return value.value

    def part(name: str, reader: Any, read: int, set_one: int) -> Part:
        return Part(f"the flag {name}", lambda: reader(read), lambda kept: prctl(set_one, kept, 0, 0, 0))

    return [
        *(part(name, returned, *numbers) for name, numbers in _RETURNED.items()),
        *(part(name, written, *numbers) for name, numbers in _WRITTEN.items()),
        Part("oom_score_adj", _OOM_SCORE.read_text, _OOM_SCORE.write_text),
    ]
