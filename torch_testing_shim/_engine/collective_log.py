"""Writes down each collective as a rank enters it, where no death of the rank can take it.

    rank  --one line, before the collective begins-->  a file mapped into memory  <--read--  controller

Every collective passes torch's dispatcher as an operator of `c10d`, also those that C++ makes (DDP's reducer,
functional collectives). A kernel stands before each of them, below autograd and dispatch modes and above the devices'
kernels. It writes the line and hands the call on unchanged. The file has a part for each process group, which keeps the
group's last collectives. Writing takes no system call, and no descriptor, which a rank's test could close.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist

from torch_testing_shim._engine.collective_operators import OPERATORS, Operator, fields_of
from torch_testing_shim._engine.collectives import HEADER_BYTES, INCOMPLETE, LINE_BYTES, LINES, GroupHeader

__all__ = ["rehearse_logging", "start_logging"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class _GroupLog:
    """The part of a rank's file that belongs to one process group: a header, then its last collectives."""

    def __init__(self, path: Path) -> None:
        """Adds a part to the file, which is made if it is not there.

        Raises:
            OSError: there is no room for it.
        """
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            start = os.fstat(file).st_size
            if os.write(file, _EMPTY_PART) < len(_EMPTY_PART):  # written, not only sized: a full disk shows here
                raise OSError("no room for a log")
            self._bytes = _mapped(file, start, len(_EMPTY_PART))
        finally:
            os.close(file)
        self._numbers = count(1)
        self.members: tuple[int, ...] = ()

    def begin(self, header: GroupHeader) -> None:
        """Makes it the log of this group."""
        self.members = header.members
        self._bytes[:HEADER_BYTES] = header.to_line()

    def mark_incomplete(self) -> None:
        """Makes the whole file no evidence any more."""
        self._bytes[: len(INCOMPLETE)] = INCOMPLETE

    def write(self, fields: str) -> None:
        number = next(self._numbers)
        line = f"{number}\t{fields}".encode(errors="replace")[: LINE_BYTES - 1]
        start = HEADER_BYTES + number % LINES * LINE_BYTES
        self._bytes[start : start + LINE_BYTES] = line.ljust(LINE_BYTES - 1) + b"\n"


#: Parts have to begin where a page of memory does.
_EMPTY_PART = b"\n" * (-(-(HEADER_BYTES + LINES * LINE_BYTES) // mmap.PAGESIZE) * mmap.PAGESIZE)


class CollectiveLog:
    """What this rank enters, group by group."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._pid = 0
        self._parts: list[_GroupLog] = []
        self._groups: WeakKeyDictionary[dist.ProcessGroup, _GroupLog] = WeakKeyDictionary()
        self._names = Counter[str]()

    def start(self, path: Path) -> None:
        """Logs into this file from now on.

        Raises:
            OSError: it cannot be made.
        """
        self._parts.append(_GroupLog(path))
        self._path, self._pid = path, os.getpid()

    def note(self, operator: Operator, arguments: tuple[Any, ...]) -> None:
        """Writes down that this rank enters a collective. What a process enters that the rank has forked is not its."""
        if self._path is None or self._pid != os.getpid():
            return
        group = dist.ProcessGroup.unbox(arguments[operator.group])
        log = self._groups.get(group)
        if log is None:
            if group not in dist.distributed_c10d._world.pg_group_ranks:
                return
            log = self._groups[group] = self._new(group, self._path)
        log.write(fields_of(operator, arguments, log.members))

    def _new(self, group: dist.ProcessGroup, path: Path) -> _GroupLog:
        name = group.group_name
        self._names[name] += 1
        ranks = dist.distributed_c10d._world.pg_group_ranks[group]
        members = tuple(sorted(ranks, key=ranks.__getitem__))
        try:
            if self._names.total() > 1:  # the first part has been made ahead
                self._parts.append(_GroupLog(path))
            log = self._parts[-1]
            log.begin(GroupHeader(name, group.group_desc, self._names[name], dist.get_rank(), members))
        except (OSError, ValueError):  # no room for the part, or for the header in it
            self._path = None
            self._parts[0].mark_incomplete()
            raise
        return log


_LOG = CollectiveLog()


def start_logging(path: Path) -> None:
    """Has this process's collectives logged into the file, which is made; nothing happens where that cannot be.

    Args:
        path: `ScratchFolder.collectives` of the rank.
    """
    with suppress(OSError):
        _watch_collectives()
        _LOG.start(path)


def rehearse_logging() -> None:
    """Puts the kernels in place and does once what a rank does at its first collective. Nothing is left of it but the
    kernels and a page of memory."""
    _watch_collectives()
    ones, group = torch.ones((2,), dtype=torch.float32, device="cpu"), dist.ProcessGroup(0, 1)  # type: ignore[call-arg]
    with suppress(RuntimeError):  # the group has no backend; but the call comes through the kernel
        group.allreduce([ones], dist.AllreduceOptions())
    file = os.memfd_create("rehearsal")
    try:
        log = _GroupLog(Path(f"/proc/self/fd/{file}"))
    finally:
        os.close(file)
    log.begin(GroupHeader("", "", 1, 0, (0,)))
    log.write(fields_of(OPERATORS["broadcast_"], ([ones], group, 0), log.members))


@functools.cache
def _watch_collectives() -> object:
    """Puts the kernels before torch's own, for as long as the process lives and for what is forked from it."""
    if not dist.is_available():
        return None
    library = torch.library.Library("c10d", "IMPL")  # type: ignore[no-untyped-call]
    for name, operator in OPERATORS.items():
        packet = getattr(torch.ops.c10d, name, None)
        if packet is not None:  # else this torch does not have it
            kernel = _kernel(operator, packet.default)
            library.impl(name, kernel, "BackendSelect", with_keyset=True)  # type: ignore[no-untyped-call]
    return library


def _kernel(operator: Operator, overload: Any) -> Callable[..., Any]:
    below = torch._C._dispatch_keyset_full_after(torch._C.DispatchKey.BackendSelect)
    call = overload._handle.redispatch_boxed  # `overload.redispatch` would add a frame to each traceback

    def enter(keys: torch._C.DispatchKeySet, *args: Any, **kwargs: Any) -> Any:
        try:
            if not keys.has(torch._C.DispatchKey.Meta):  # a trace communicates nothing
                _LOG.note(operator, args)
        except Exception:  # what cannot be written down is entered nevertheless
            pass
        return call(keys & below, *args, **kwargs)

    return enter


@functools.cache
def _system_mmap() -> Callable[..., int | None]:
    call = ctypes.CDLL(None, use_errno=True).mmap
    call.restype = ctypes.c_void_p
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    return call


def _mapped(descriptor: int, start: int, size: int) -> memoryview:
    """A part of the file, shared with whoever reads it. Python's `mmap` would keep a descriptor of its own.

    Raises:
        OSError: it cannot be mapped.
    """
    address = _system_mmap()(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, descriptor, start)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "cannot map a file")
    return memoryview((ctypes.c_char * size).from_address(address)).cast("B")
