"""Ends what a test has left running in a reused rank: processes, and threads that are about to end."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from torch_testing_shim._engine.leftovers import (
    all_stats,
    children_of_this_process,
    command_of,
    is_of_a_test,
    remove_segments,
)

__unittest = True  # unittest and pytest leave the frames of this module out of a report

#: How long a thread that is ending may take, in seconds, for all threads together.
_THREAD_SECONDS = 0.1


@dataclass(frozen=True)
class LeftRunning:
    """The processes and threads that were there before a test.

    Attributes:
        children: ids of this process's children.
        group: ids of the other processes in the group that this process leads; empty where it leads none.
        threads: Python's threads.
        reaped: what the system says of the children that have been reaped; it changes with each.
    """

    children: frozenset[int]
    group: frozenset[int]
    threads: frozenset[threading.Thread]
    reaped: object

    @classmethod
    def now(cls) -> LeftRunning:
        """Return those that are there now."""
        return cls(
            frozenset(children_of_this_process()),
            frozenset(_others_in_group()),
            frozenset(threading.enumerate()),
            resource.getrusage(resource.RUSAGE_CHILDREN),
        )

    def end(self) -> None:
        """End the processes that a test has left, those that libraries have started for themselves excepted, and wait a
        moment for its threads."""
        children = set(children_of_this_process()) - self.children
        if children or resource.getrusage(resource.RUSAGE_CHILDREN) != self.reaped:
            self._end_processes(children)
        give_up = time.monotonic() + _THREAD_SECONDS
        for thread in frozenset(threading.enumerate()) - self.threads:
            thread.join(max(0.0, give_up - time.monotonic()))

    def _end_processes(self, children: set[int]) -> None:
        left = children | (set(_others_in_group()) - self.group)
        of_library = {pid for pid in left if command_of(pid) and not is_of_a_test(pid)}
        of_test = left - of_library  # one that is about to end has no command
        for pid in of_test:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        multiprocessing.active_children()  # its own books of those that have ended
        for pid in children:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG if pid in of_library else 0)
        remove_segments(of_test)


def _others_in_group() -> list[int]:
    """Return the other processes in this process's group, which it leads; none where another one leads it. They may be
    children of children that have ended."""
    if os.getpgid(0) != os.getpid():
        return []
    return [pid for pid, fields in all_stats() if int(fields[2]) == os.getpid() and pid != os.getpid()]
