"""How a test file's process is ended before it ends by itself: asked first, then by force.

Nothing here waits: it yields until it is to be looked at again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator

from torch_testing_shim._shared.stack_request import STACK_REQUEST

from .child_process import ChildProcess
from .process_tree import ProcessTree

__all__ = ["ask_for_stacks", "end_early"]

#: How long a file has to end by itself after Ctrl-C was passed on, in seconds: its ranks are
#: asked meanwhile where they stand, which takes up to 2 s, and ended.
INTERRUPT_GRACE = 4.0
#: How long a file that has hung has to print where it stands, in seconds: it takes milliseconds.
STACKS_GRACE = 0.5

#: What waits by yielding.
Waiting = Generator[None, None, None]


def ask_for_stacks(child: ChildProcess) -> Waiting:
    """Has the process print where it stands, before Ctrl-C moves it."""
    if not child.has_ended():
        os.kill(child.pid, STACK_REQUEST)
        yield from _until_ended(child, STACKS_GRACE)


def end_early(child: ChildProcess, tree: ProcessTree) -> Waiting:
    """Passes Ctrl-C on to the process's group and waits; whoever does not end on that is ended with the rest."""
    child.signal(signal.SIGINT)
    yield from _until_ended(child, INTERRUPT_GRACE)
    if not child.has_ended():
        yield from ask_for_stacks(child)
        yield from tree.end(grace=0.0)
        yield from _until_ended(child, INTERRUPT_GRACE)


def _until_ended(child: ChildProcess, patience: float) -> Waiting:
    """Yields until the process has ended, for `patience` seconds at most."""
    deadline = time.monotonic() + patience
    while not child.has_ended() and time.monotonic() < deadline:
        yield
