"""Which descriptors of this process belong to libuv: the pipe that its signal handling is locked by.

A process's first `TCPStore` has libuv open it, for good (torch 2.13). It is known by both ends being this process's,
and by the one byte in it, which whoever holds the lock has taken out. Linux tells in /proc; elsewhere there is nothing
to be seen.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from collections.abc import Iterator
from contextlib import suppress

__all__ = ["signal_pipes"]


def signal_pipes() -> list[frozenset[int]]:
    """The descriptors of each pipe in this process that may be libuv's."""
    ends: dict[str, set[int]] = {}
    for number, target in _pipes():
        ends.setdefault(target, set()).add(number)
    return [frozenset(pair) for pair in ends.values() if len(pair) == 2 and _waiting_bytes(min(pair)) == 1]


def _pipes() -> Iterator[tuple[int, str]]:
    with suppress(OSError):  # no /proc
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # the one that listed them
                target = os.readlink(f"/proc/self/fd/{name}")
                if target.startswith("pipe:"):
                    yield int(name), target


def _waiting_bytes(descriptor: int) -> int:
    """How many bytes a pipe holds; either end tells. -1 where another thread has closed it meanwhile."""
    with suppress(OSError):
        return int(struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0])
    return -1
