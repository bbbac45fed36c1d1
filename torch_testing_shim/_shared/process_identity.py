"""A stamp that names one process for good, so that a folder has an owner; and whether that process lives.

A process id alone does not do: it is used again. With the process's start time it names one process of one boot and
one pid namespace, so the stamp has these too; a folder from another machine or container is nobody's to judge here.
Linux only: elsewhere there is no stamp, and every process counts as alive.
"""

from __future__ import annotations

import functools
import os
import sys
from contextlib import suppress

#: The states of a process that has ended, in /proc/<pid>/stat: it only waits to be reaped.
_ENDED_STATES = (b"Z", b"X")


def own_stamp() -> str | None:
    """One line that names this process; None where the system does not tell enough."""
    return _stamp_of(os.getpid())


def is_surely_dead(stamp: str) -> bool:
    """True where the stamp's process has ended for certain: False in every case of doubt."""
    place, pid, started = _parts(stamp)
    if not place or place != _place() or not pid.isdecimal() or not started.isdecimal():
        return False
    state_and_start = _state_and_start(int(pid))
    if state_and_start is not None:
        return state_and_start[0] in _ENDED_STATES or state_and_start[1] != int(started)
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False  # it lives, and /proc hides it


def pid_in(stamp: str) -> int:
    """The process id of a stamp that `own_stamp` has made."""
    return int(_parts(stamp)[1])


def _parts(stamp: str) -> tuple[str, str, str]:
    """Place, process id and start time; empty texts where the text is not a stamp."""
    place, _, process = stamp.rpartition(" of ")
    pid, _, started = process.partition(" started at ")
    return place, pid, started


@functools.cache  # by pid, since a fork has another
def _stamp_of(pid: int) -> str | None:
    place, state_and_start = _place(), _state_and_start(pid)
    if place is None or state_and_start is None:
        return None
    return f"{place} of {pid} started at {state_and_start[1]}"


@functools.cache
def _place() -> str | None:
    """The scope in which process ids and start times can be compared: this boot, and the namespaces of ids and time."""
    if sys.platform != "linux":
        return None
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot:
            parts = [boot.read().strip(), os.readlink("/proc/self/ns/pid")]
    except OSError:
        return None
    with suppress(OSError):  # a kernel that has one time for all
        parts.append(os.readlink("/proc/self/ns/time"))
    return " ".join(parts)


def _state_and_start(pid: int) -> tuple[bytes, int] | None:
    """A process's state, and its start in clock ticks since boot; None where the process cannot be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            # The fields after the name, which is in parentheses and may have anything in it.
            fields = stat.read().rpartition(b")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, IndexError, ValueError):
        return None
