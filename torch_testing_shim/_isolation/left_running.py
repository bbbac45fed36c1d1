"""Ends what a test has left running in a reused rank: processes, and threads that are about to end."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from torch_testing_shim._engine.leftovers import children_of_this_process, end_children
from torch_testing_shim._shared.parent_death import adopt_orphans

__unittest = True  # unittest and pytest leave the frames of this module out of a report

#: How long a thread that is ending may take, in seconds, for all threads together.
_THREAD_SECONDS = 0.1


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
        end_children(self.children)
        give_up = time.monotonic() + _THREAD_SECONDS
        for thread in frozenset(threading.enumerate()) - self.threads:
            thread.join(max(0.0, give_up - time.monotonic()))
