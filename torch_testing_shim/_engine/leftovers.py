"""Finds, counts and ends processes that outlive the rank that started them, and removes torch's shared memory.

One of these processes may go on: multiprocessing's resource tracker. Once it sees the end of a killed rank, it removes
the rank's segments of shared memory, which nobody else knows. Torch's manager of shared memory takes 2 s for the same,
so it is ended, and the segments, which have the rank's id in their names, are removed here.

Processes are found in Linux's /proc; on other systems nothing is found.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Collection, Container, Iterator, Sequence
from contextlib import suppress

#: Part of the command of a process that tidies up when the process that it serves has ended.
_TIDYING = b"multiprocessing.resource_tracker"
#: Commands of processes that libraries start for themselves; no test is to blame for them.
_LIBRARY_HELPERS = (_TIDYING, b"torch_shm_manager", b"multiprocessing.forkserver", b"/torch/_inductor/")
#: How long after its fork a process may still look like the one that it was forked from, in seconds.
_JUST_STARTED_SECONDS = 0.2
_SHARED_MEMORY = "/dev/shm"
#: Torch's names of segments, with the id of the process that made them.
_TORCH_SEGMENT = re.compile(r"torch_(\d+)_")
#: How often processes are searched for new ones; a group that forks faster is ended with its helpers.
_ROUNDS = 20


def children_of_this_process() -> list[int]:
    """Return the ids of this process's children, including ended ones that have not been reaped."""
    if sys.platform != "linux":
        return []
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # the usual case, told without reading /proc
        return []
    with suppress(OSError):  # a kernel without these files
        lists = [f"/proc/self/task/{task}/children" for task in os.listdir("/proc/self/task")]
        return [child for path in lists for child in _listed(path)]
    return [pid for pid, fields in all_stats() if int(fields[1]) == os.getpid()]


def end_children(known: Collection[int] = ()) -> None:
    """End this process's children, except those that are known and those that libraries have started for themselves.
    Where it adopts orphans, theirs become its own, and are ended, too; those that fork faster go on."""
    for _ in range(_ROUNDS):
        children = set(children_of_this_process()).difference(known)
        of_library = {pid for pid in children if command_of(pid) and not is_of_a_test(pid)}
        of_test = children - of_library  # one that is about to end has no command
        for pid in of_test:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if children:
            multiprocessing.active_children()  # its own books of those that have ended
        for pid in children:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG if pid in of_library else 0)
        if not of_test:
            return
        remove_segments(of_test)


def end_group(leader: int) -> set[int]:
    """End the processes in the group of a rank, its `leader`, except those that tidy up. The rank has ended and has
    not been reaped, so that the group's id is certainly its own. Return the processes that it ended, without helpers
    of libraries; they may take a moment to be gone."""
    ended: set[int] = set()
    _let_settle(leader)
    for _ in range(_ROUNDS):
        members = [pid for pid, fields in all_stats() if _is_living_member(fields, leader)]
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
    """Wait until no member of the group has just been started: such a one may be about to become one that tidies
    up."""
    ticks = [int(fields[19]) for _, fields in all_stats() if _is_living_member(fields, leader)]
    if ticks:
        youngest = time.clock_gettime(time.CLOCK_BOOTTIME) - max(ticks) / os.sysconf("SC_CLK_TCK")
        time.sleep(max(0.0, _JUST_STARTED_SECONDS - youngest))


def _is_living_member(fields: Sequence[bytes], group: int) -> bool:
    return int(fields[2]) == group and _is_alive(fields)


def is_tidying(pid: int) -> bool:
    """Whether the process removes what others have left."""
    return _TIDYING in command_of(pid)


def is_of_a_test(pid: int) -> bool:
    """Whether a test is responsible for the process: it runs, and no library has started it for itself."""
    command = command_of(pid)
    return bool(command) and not any(mark in command for mark in _LIBRARY_HELPERS)


def remove_segments(pids: Container[int]) -> None:
    """Remove torch's shared memory ("file_system" sharing) that processes have left which have ended."""
    with suppress(OSError):
        for name in os.listdir(_SHARED_MEMORY):
            found = _TORCH_SEGMENT.match(name)
            if found and int(found[1]) in pids:
                os.unlink(f"{_SHARED_MEMORY}/{name}")


def command_of(pid: int) -> bytes:
    """Read the command of a process; empty where there is none, as once a process begins to end."""
    until = time.monotonic() + _JUST_STARTED_SECONDS
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        # One that is just taking on its program has no command for a moment: its parent may go on before it has one.
        while not (command := file.read()) and _is_alive(stat_fields(pid)) and time.monotonic() < until:
            time.sleep(0.001)
            file.seek(0)
        return command
    return b""


def _is_alive(fields: Sequence[bytes]) -> bool:
    return bool(fields) and fields[0] not in (b"Z", b"X")


def _listed(path: str) -> list[int]:
    with open(path, "rb") as children:
        return [int(pid) for pid in children.read().split()]


def all_stats() -> Iterator[tuple[int, list[bytes]]]:
    """Yield each process's id and its `stat_fields`."""
    for entry in os.listdir("/proc") if sys.platform == "linux" else ():
        if entry.isdigit() and (fields := stat_fields(entry)):
            yield int(entry), fields


def stat_fields(process: int | str) -> list[bytes]:
    """Read the fields of /proc/<process>/stat from the state on: state, parent, group, ...; none where there is no
    such process, or thread ("<process>/task/<thread>")."""
    with suppress(OSError), open(f"/proc/{process}/stat", "rb") as stat:
        return stat.read().rpartition(b")")[2].split()
    return []
