"""Which new descriptors of this process may belong to an accelerator's driver.

A driver that starts, or is given more to do, opens pipes and sockets for good. It does so in a test that uses the
device in the test process, as one does whose ranks are threads, and already where torch only asks for devices, as
`dist.barrier` does there. Two things tell: what torch says of the device, and the device nodes that the driver opens.

Nothing tells which pipes and sockets are the driver's. All that appeared in such a test are taken for its own, but for
those that a Python object has: a driver's have none. So what the test itself has left as a bare number (of `os.pipe`,
say), or in C++, is not reported there.
"""

from __future__ import annotations

import gc
import io
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from torch_testing_shim._engine.driver import initialized_accelerator

__all__ = ["DriverState", "driver_state", "held_by_python"]

#: Device nodes that are no accelerator's, by their major number on Linux: memory, consoles, terminals and their ends.
_OTHER_NODES = frozenset({1, 4, 5, *range(136, 144)})


@dataclass(frozen=True)
class DriverState:
    """What can be seen of a driver in this process; another one means that it has been at work.

    Attributes:
        initialized: the type of the accelerator that is in use here.
        nodes: open device nodes, each as (descriptor, device).
    """

    initialized: str | None
    nodes: frozenset[tuple[int, int]]


def driver_state() -> DriverState:
    """The state now."""
    return DriverState(initialized_accelerator(), frozenset(_device_nodes()))


def held_by_python() -> frozenset[int]:
    """Descriptors that a living file, socket or connection of Python's has."""
    found = set()
    for thing in gc.get_objects():
        if issubclass(type(thing), (io.FileIO, socket.socket, Connection)):
            with suppress(OSError, ValueError):  # it is closed
                found.add(thing.fileno())
    return frozenset(found)


def _device_nodes() -> Iterator[tuple[int, int]]:
    with suppress(OSError):  # no /proc
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # the one that listed them
                node = os.fstat(int(name))
                if stat.S_ISCHR(node.st_mode) and os.major(node.st_rdev) not in _OTHER_NODES:
                    yield int(name), node.st_rdev
