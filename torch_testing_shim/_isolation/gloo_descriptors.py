"""Which descriptors of this process belong to gloo: an event loop's epoll instance, and what that watches.

Torch keeps the first process group for good that a functional collective has run in, as every DTensor's do, and with it
the group's event loop (torch 2.13). A loop is known by its epoll instance watching a pipe, both ends of which are this
process's: gloo wakes its own thread by one. Linux tells in /proc; elsewhere there is nothing to be seen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["event_loops"]

_EPOLL = "anon_inode:[eventpoll]"
#: A line of /proc/self/fdinfo/<epoll>: a descriptor that it watches.
_WATCHED = re.compile(r"^tfd:\s*(\d+)", re.MULTILINE)


def event_loops() -> list[frozenset[int]]:
    """The descriptors of each of gloo's event loops in this process."""
    targets = dict(_targets())
    loops = []
    for epoll in sorted(number for number, target in targets.items() if target == _EPOLL):
        watched = _watched_by(epoll)
        pipes = {targets.get(number, "") for number in watched if targets.get(number, "").startswith("pipe:")}
        ends = {number for number, target in targets.items() if target in pipes}
        if ends - watched:
            loops.append(frozenset({epoll, *watched, *ends}))
    return loops


def _targets() -> Iterator[tuple[int, str]]:
    with suppress(OSError):  # no /proc
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # the one that listed them
                yield int(name), os.readlink(f"/proc/self/fd/{name}")


def _watched_by(epoll: int) -> set[int]:
    with suppress(OSError):
        return {int(number) for number in _WATCHED.findall(Path(f"/proc/self/fdinfo/{epoll}").read_text())}
    return set()
