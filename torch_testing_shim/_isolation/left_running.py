"""Ends what a test has left running in a reused rank: processes, and threads that are about to end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from torch_testing_shim._engine.leftovers import (
    children_of_this_process,
    command_of,
    is_of_a_test,
    remove_segments,
)
from torch_testing_shim._shared.parent_death import adopt_orphans

__unittest = True  # unittest and pytest leave the frames of this module out of a report

#: How long a thread that is ending may take, in seconds, for all threads together.
_THREAD_SECONDS = 0.1
#: Generations of processes that are ended; those that fork faster go on until the rank ends.
_ROUNDS = 20


@dataclass(frozen=True)
class LeftRunning:
    """The processes and threads that were there before a test."""

    children: frozenset[int]  # ids of this process's children
    threads: frozenset[threading.Thread]  # Python's threads

    @classmethod
    def now(cls) -> LeftRunning:
        """Return those that are there now. From now on this process is the parent of what its children leave."""
        adopt_orphans()
        return cls(frozenset(children_of_this_process()), frozenset(threading.enumerate()))

    def end(self) -> None:
        """End the processes that a test has left, those that libraries have started for themselves excepted, and wait a
        moment for its threads."""
        for _ in range(_ROUNDS):
            if not _end_processes(set(children_of_this_process()) - self.children):
                break
        give_up = time.monotonic() + _THREAD_SECONDS
        for thread in frozenset(threading.enumerate()) - self.threads:
            thread.join(max(0.0, give_up - time.monotonic()))


def _end_processes(children: set[int]) -> bool:
    """End those of the children that are of a test; theirs become this process's. Return whether there was any."""
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
    if of_test:
        remove_segments(of_test)
    return bool(of_test)
