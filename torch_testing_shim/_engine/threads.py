"""Threads of this process, and whether it may be forked: what a thread holds while others fork is lost to the child."""

from __future__ import annotations

import os
import sys
import time
import warnings

__all__ = ["fork_quietly", "lasting_thread_count", "python_thread_count", "thread_count", "thread_count_after_fork"]

#: How long the system may list a thread that has ended and been waited for, in seconds; it takes microseconds.
_LISTED_SECONDS = 0.02


def thread_count() -> int:
    """Threads of this process, those of C++ libraries included; 1 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def python_thread_count() -> int:
    """Threads of this process that run Python, whoever has started them: all of these live on when it forks."""
    return len(sys._current_frames())


def lasting_thread_count() -> int:
    """Threads that live on when this process forks. Some libraries end theirs before a fork (OpenBLAS does), and they
    are gone after this call; they start again when the library has work for them."""
    if thread_count() == 1 or python_thread_count() > 1:
        return thread_count()
    pid = fork_quietly()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return thread_count_after_fork()


def thread_count_after_fork() -> int:
    """Threads of this process, to be called right after a fork: threads that ended for it do not count."""
    give_up = time.monotonic() + _LISTED_SECONDS
    while (threads := thread_count()) > 1 and time.monotonic() < give_up:
        time.sleep(0.001)
    return threads


def fork_quietly() -> int:
    """`os.fork` without Python's warning of other threads (3.12 and later), for a caller who counts them itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* is multi-threaded", DeprecationWarning)
        return os.fork()
