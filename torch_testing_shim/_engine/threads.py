"""Counts the threads of this process, which decide whether it may be forked: a lock that another thread holds during a
fork stays locked in the child."""

from __future__ import annotations

import os
import sys
import time
import warnings

#: How long the system may list a thread that has ended and been joined, in seconds; it takes microseconds.
_LISTED_SECONDS = 0.02


def thread_count() -> int:
    """Count the threads of this process, those of C++ libraries included; 1 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def python_thread_count() -> int:
    """Count the threads that run Python, whoever has started them. All of these live on when the process forks."""
    return len(sys._current_frames())


def lasting_thread_count() -> int:
    """Count the threads that live on when this process forks. Some libraries end theirs before a fork (OpenBLAS does):
    those are gone after this call, and start again when the library has work for them."""
    if thread_count() == 1 or python_thread_count() > 1:
        return thread_count()
    pid = fork_quietly()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return thread_count_after_fork()


def thread_count_after_fork() -> int:
    """Count the threads right after a fork; threads that ended for the fork do not count."""
    give_up = time.monotonic() + _LISTED_SECONDS
    while (threads := thread_count()) > 1 and time.monotonic() < give_up:
        time.sleep(0.001)
    return threads


def fork_quietly() -> int:
    """Fork without Python's warning of other threads (3.12 and later), for a caller that counts them itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* is multi-threaded", DeprecationWarning)
        return os.fork()
