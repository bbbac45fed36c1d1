"""Which descriptors of this process belong to a library, which opens them once and keeps them for good.

Linux shows them in /proc; elsewhere none is found. Three libraries are known:

* gloo. Torch keeps the first process group for good in which a functional collective has run, as every DTensor's do,
  and with it the group's event loop (torch 2.13). A loop is an epoll instance that watches a pipe both of whose ends
  are this process's: gloo wakes its own thread by it.
* libuv. The first `TCPStore` of a process opens the pipe that guards libuv's signal handling (torch 2.13). Both of its
  ends are this process's, and it holds one byte, which whoever has the lock takes out.
* An accelerator's driver. It opens pipes and sockets when it starts and when it gets more to do: in a test that uses
  the device in the test process, as thread ranks do, and already where torch only looks for devices, as `dist.barrier`
  does there. It is seen at work by what torch says of the device and by the device nodes that are open. Which pipes and
  sockets are the driver's cannot be seen, so all that appear in such a test count as its own, except those that a
  Python object holds. What such a test leaves as a bare number (of `os.pipe`), or in C++, is therefore not reported.
"""

from __future__ import annotations

import fcntl
import gc
import io
import os
import re
import socket
import stat
import struct
import termios
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from torch_testing_shim._engine.driver import initialized_accelerator

_EPOLL = "anon_inode:[eventpoll]"
#: A line of /proc/self/fdinfo/<epoll>: a descriptor that it watches.
_WATCHED = re.compile(r"^tfd:\s*(\d+)", re.MULTILINE)
#: Major numbers on Linux of device nodes that are not an accelerator's: memory, consoles, terminals and their ends.
_OTHER_NODES = frozenset({1, 4, 5, *range(136, 144)})


def open_descriptors() -> Iterator[tuple[int, os.stat_result]]:
    """Yield each descriptor of this process with its status."""
    with suppress(OSError):  # no /proc
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # the one that listed them
                yield int(name), os.fstat(int(name))


def descriptor_targets(pid: int | None = None) -> Iterator[tuple[int, str]]:
    """Yield each descriptor of a process (by default this one) with its target, as /proc names it."""
    folder = f"/proc/{'self' if pid is None else pid}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                yield int(name), os.readlink(f"{folder}/{name}")


def event_loops() -> list[frozenset[int]]:
    """Return the descriptors of each of gloo's event loops in this process."""
    targets = dict(descriptor_targets())
    loops = []
    for epoll in sorted(number for number, target in targets.items() if target == _EPOLL):
        watched = _watched_by(epoll)
        pipes = {targets.get(number, "") for number in watched if targets.get(number, "").startswith("pipe:")}
        ends = {number for number, target in targets.items() if target in pipes}
        if ends - watched:
            loops.append(frozenset({epoll, *watched, *ends}))
    return loops


def _watched_by(epoll: int) -> set[int]:
    with suppress(OSError):
        return {int(number) for number in _WATCHED.findall(Path(f"/proc/self/fdinfo/{epoll}").read_text())}
    return set()


def signal_pipes() -> list[frozenset[int]]:
    """Return the descriptors of each pipe in this process that may be libuv's."""
    ends: dict[str, set[int]] = {}
    for number, target in descriptor_targets():
        if target.startswith("pipe:"):
            ends.setdefault(target, set()).add(number)
    return [frozenset(pair) for pair in ends.values() if len(pair) == 2 and _waiting_bytes(min(pair)) == 1]


def _waiting_bytes(descriptor: int) -> int:
    """Return how many bytes a pipe holds, asked at either end; -1 where another thread has closed it meanwhile."""
    with suppress(OSError):
        return int(struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0])
    return -1


@dataclass(frozen=True)
class DriverState:
    """The visible state of a driver in this process; a change means that it has been at work."""

    initialized: str | None  # the type of the accelerator that is in use here
    nodes: frozenset[tuple[int, int]]  # open device nodes, each as (descriptor, device)


def driver_state() -> DriverState:
    """Return the state now."""
    return DriverState(initialized_accelerator(), frozenset(_device_nodes()))


def held_by_python() -> frozenset[int]:
    """Return the descriptors that a living file, socket or connection of Python's has."""
    found = set()
    for thing in gc.get_objects():
        if issubclass(type(thing), (io.FileIO, socket.socket, Connection)):
            with suppress(OSError, ValueError):  # it is closed
                found.add(thing.fileno())
    return frozenset(found)


def _device_nodes() -> Iterator[tuple[int, int]]:
    for number, node in open_descriptors():
        if stat.S_ISCHR(node.st_mode) and os.major(node.st_rdev) not in _OTHER_NODES:
            yield number, node.st_rdev
