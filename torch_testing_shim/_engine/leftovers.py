"""What outlives the rank that made it: processes, found, counted and ended, and torch's shared memory.

One of these processes is let be: multiprocessing's resource tracker, which removes the segments of shared memory that a
killed rank has left once it sees the rank's end; nobody else knows of them. Torch's manager of shared memory takes 2 s
for the same, so it is ended, and the segments removed here: they have the rank's id in their names.

Linux tells what is there in /proc; elsewhere nothing is found.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress

__all__ = ["children_of_this_process", "end_group", "is_of_a_test", "is_tidying", "remove_segments"]

#: The command of a process that tidies up when the process that it serves has ended.
_TIDYING = b"multiprocessing.resource_tracker"
#: Commands of processes that libraries start for themselves; no test is to blame for them.
_LIBRARY_HELPERS = (_TIDYING, b"torch_shm_manager", b"multiprocessing.forkserver", b"/torch/_inductor/")
#: How long after its fork a process may still look like the one that it was forked from, in seconds.
_JUST_STARTED_SECONDS = 0.2
_SHARED_MEMORY = "/dev/shm"
#: As torch names its segments, after the process that made them.
_TORCH_SEGMENT = re.compile(r"torch_(\d+)_")
#: How often a group is looked through for what is new in it; a process that forks faster is ended with its helpers.
_ROUNDS = 20


def children_of_this_process() -> list[int]:
    """The ids of this process's children, ended ones that wait to be reaped included."""
    if sys.platform != "linux":
        return []
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # the usual case, told without reading /proc
        return []
    with suppress(OSError):  # a kernel without these files
        lists = [f"/proc/self/task/{task}/children" for task in os.listdir("/proc/self/task")]
        return [child for path in lists for child in _listed(path)]
    return [pid for pid, fields in _stats() if int(fields[1]) == os.getpid()]


def end_group(leader: int) -> set[int]:
    """Ends what a rank's process group still has, less what tidies up.

    Args:
        leader: the rank, which has ended and has not been reaped, so that the group's id is certainly its own.

    Returns:
        The processes that it ended, which may take a moment to be gone; helpers of libraries not counted.
    """
    ended: set[int] = set()
    _let_settle(leader)
    for _ in range(_ROUNDS):
        members = [pid for pid, fields in _stats() if _is_living_member(fields, leader)]
        tidying = [pid for pid in members if is_tidying(pid)]
        ended.update(pid for pid in members if is_of_a_test(pid))
        if not tidying or not members:
            break
        if len(tidying) == len(members):
            return ended
        for pid in set(members) - set(tidying):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    return ended


def _let_settle(leader: int) -> None:
    """Waits until no member of the group has just been started: it may be about to become one that tidies up."""
    ticks = [int(fields[19]) for _, fields in _stats() if _is_living_member(fields, leader)]
    if ticks:
        youngest = time.clock_gettime(time.CLOCK_BOOTTIME) - max(ticks) / os.sysconf("SC_CLK_TCK")
        time.sleep(max(0.0, _JUST_STARTED_SECONDS - youngest))


def _is_living_member(fields: Sequence[bytes], group: int) -> bool:
    return int(fields[2]) == group and fields[0] not in (b"Z", b"X")


def is_tidying(pid: int) -> bool:
    """True for a process that removes what others have left."""
    return _TIDYING in _command(pid)


def is_of_a_test(pid: int) -> bool:
    """True for a process that a test has to answer for: one that runs, and that no library has started for itself."""
    command = _command(pid)  # there is none from the moment on when a process begins to end
    return bool(command) and not any(mark in command for mark in _LIBRARY_HELPERS)


def remove_segments(pids: Container[int]) -> None:
    """Removes what processes that have ended have left of torch's shared memory ("file_system" sharing)."""
    with suppress(OSError):
        for name in os.listdir(_SHARED_MEMORY):
            found = _TORCH_SEGMENT.match(name)
            if found and int(found[1]) in pids:
                os.unlink(f"{_SHARED_MEMORY}/{name}")


def _command(pid: int) -> bytes:
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()
    return b""


def _listed(path: str) -> list[int]:
    with open(path, "rb") as children:
        return [int(pid) for pid in children.read().split()]


def _stats() -> Iterator[tuple[int, list[bytes]]]:
    """Of each process its id, and the fields of its /proc/<pid>/stat from the state on: state, parent, group, ..."""
    for entry in os.listdir("/proc") if sys.platform == "linux" else ():
        if entry.isdigit():
            with suppress(OSError), open(f"/proc/{entry}/stat", "rb") as stat:
                yield int(entry), stat.read().rpartition(b")")[2].split()
