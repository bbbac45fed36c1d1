"""Logs each collective as a rank enters it, into a file that survives the rank. `collectives` reads the logs.

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
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist

from torch_testing_shim._engine.collectives import HEADER_BYTES, INCOMPLETE, LINE_BYTES, LINES, GroupHeader

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: How many tensors of a collective are written down with their shapes, and how much of them.
_TENSORS_SHOWN, _SHAPES_CHARACTERS, _TYPES_CHARACTERS = 4, 100, 40


class _GroupLog:
    """The part of a rank's log for one process group: a header, then the group's last collectives."""

    def __init__(self, path: Path) -> None:
        """Append a part to the file, which is made if it does not exist. Raise OSError where there is no room for
        it."""
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            start = os.fstat(file).st_size
            if os.write(file, _EMPTY_PART) < len(_EMPTY_PART):  # written, not only sized: a full disk shows here
                raise OSError("no room for a log")
            self._bytes = mapped(file, start, len(_EMPTY_PART))
        finally:
            os.close(file)
        self._numbers = count(1)
        self.members: tuple[int, ...] = ()

    def begin(self, header: GroupHeader) -> None:
        """Make this part the log of a group."""
        self.members = header.members
        self._bytes[:HEADER_BYTES] = header.to_line()

    def mark_incomplete(self) -> None:
        """Mark the whole file as incomplete, so that nothing is concluded from it."""
        self._bytes[: len(INCOMPLETE)] = INCOMPLETE

    def close(self) -> None:
        """Take the file out of memory; what is written from now on is lost."""
        bytes_, self._bytes = self._bytes, memoryview(bytearray(len(_EMPTY_PART)))
        unmap(bytes_)

    def write(self, fields: str) -> None:
        number = next(self._numbers)
        line = f"{number}\t{fields}".encode(errors="replace")[: LINE_BYTES - 1]
        start = HEADER_BYTES + number % LINES * LINE_BYTES
        self._bytes[start : start + LINE_BYTES] = line.ljust(LINE_BYTES - 1) + b"\n"


#: An empty part; each begins where a page of memory does.
_EMPTY_PART = b"\n" * (-(-(HEADER_BYTES + LINES * LINE_BYTES) // mmap.PAGESIZE) * mmap.PAGESIZE)


class _CollectiveLog:
    """The log of the collectives that this rank enters, group by group."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._pid = 0
        self._parts: list[_GroupLog] = []
        self._groups: WeakKeyDictionary[dist.ProcessGroup, _GroupLog] = WeakKeyDictionary()
        self._names = Counter[str]()

    def start(self, path: Path) -> None:
        """Log into this file from now on, and no longer into another test's. Raise OSError where it cannot be
        made."""
        self._path = None
        self._groups.clear()
        self._names.clear()
        while self._parts:
            self._parts.pop().close()
        self._parts.append(_GroupLog(path))
        self._path, self._pid = path, os.getpid()

    def note(self, operator: Operator, arguments: tuple[Any, ...]) -> None:
        """Log that this rank enters a collective. Processes that the rank has forked log nothing."""
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


_LOG = _CollectiveLog()


def start_logging(path: Path) -> None:
    """Log this process's collectives into the file, which is made (`ScratchFolder.collectives` of the rank); does
    nothing where that is not possible."""
    with suppress(OSError):
        _watch_collectives()
        _LOG.start(path)


def warm_up_logging() -> None:
    """Put the kernels in place and do once what a rank does at its first collective. It leaves the kernels and a
    page of memory."""
    _watch_collectives()
    ones, group = torch.ones((2,), dtype=torch.float32, device="cpu"), dist.ProcessGroup(0, 1)  # type: ignore[call-arg]
    with suppress(RuntimeError):  # the group has no backend; but the call comes through the kernel
        group.allreduce([ones], dist.AllreduceOptions())
    file = os.memfd_create("warm-up")
    try:
        log = _GroupLog(Path(f"/proc/self/fd/{file}"))
    finally:
        os.close(file)
    log.begin(GroupHeader("", "", 1, 0, (0,)))
    log.write(fields_of(OPERATORS["broadcast_"], ([ones], group, 0), log.members))


@functools.cache
def _watch_collectives() -> object:
    """Put the kernels before torch's own, for as long as the process lives and for what is forked from it."""
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
        except Exception:  # a collective that cannot be logged is entered nevertheless
            pass
        return call(keys & below, *args, **kwargs)

    return enter


@functools.cache
def _system_mmap() -> Callable[..., int | None]:
    call = ctypes.CDLL(None, use_errno=True).mmap
    call.restype = ctypes.c_void_p
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    return call


@functools.cache
def _system_munmap() -> Callable[..., int]:
    call = ctypes.CDLL(None).munmap
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return call


def unmap(part: memoryview) -> None:
    """Undo `mapped`."""
    _system_munmap()(ctypes.addressof(ctypes.c_char.from_buffer(part)), len(part))


def mapped(descriptor: int, start: int, size: int) -> memoryview:
    """Map a part of the file, shared with its readers, or raise OSError. Python's `mmap` would keep a descriptor of
    its own."""
    address = _system_mmap()(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, descriptor, start)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "cannot map a file")
    return memoryview((ctypes.c_char * size).from_address(address)).cast("B")


@dataclass(frozen=True)
class Operator:
    """One operator of `c10d`, and the numbers of its arguments; None for an argument that it does not have."""

    name: str  # of the collective in `torch.distributed`
    shown: int | None = 0  # its tensors are shown to people
    agreed: int | None = 0  # holds as many elements on every rank
    group: int = 1
    reduction: int | None = None
    root: int | None = None  # its rank in the group


#: The operators of `c10d` that all ranks of a group enter together.
OPERATORS = {
    "allreduce_": Operator("all_reduce", reduction=2),
    "allreduce_coalesced_": Operator("all_reduce_coalesced", reduction=2),
    "reduce_": Operator("reduce", reduction=2, root=3),
    "broadcast_": Operator("broadcast", root=2),
    "allgather_": Operator("all_gather", shown=1, group=2),
    "_allgather_base_": Operator("all_gather_into_tensor", shown=1, group=2),
    "allgather_coalesced_": Operator("all_gather_coalesced", shown=1, group=2),
    "allgather_into_tensor_coalesced_": Operator("all_gather_into_tensor_coalesced", shown=1, group=2),
    "gather_": Operator("gather", shown=1, group=2, agreed=1, root=3),
    "gather_into_tensor_": Operator("gather_into_tensor", shown=1, group=2, agreed=1, root=3),  # torch 2.14
    "scatter_": Operator("scatter", group=2, root=3),
    "reduce_scatter_": Operator("reduce_scatter", agreed=1, group=2, reduction=3),
    "_reduce_scatter_base_": Operator("reduce_scatter_tensor", shown=1, group=2, agreed=1, reduction=3),
    "reduce_scatter_tensor_coalesced_": Operator(
        "reduce_scatter_tensor_coalesced", shown=1, group=2, agreed=1, reduction=3
    ),
    "alltoall_": Operator("all_to_all", shown=1, group=2, agreed=None),
    "alltoall_base_": Operator("all_to_all_single", shown=1, group=2, agreed=None),
    "barrier": Operator("barrier", shown=None, agreed=None),
    "monitored_barrier_": Operator("monitored_barrier", shown=None, agreed=None),
}


def fields_of(operator: Operator, arguments: Sequence[Any], members: Sequence[int]) -> str:
    """Format a log entry: a checksum of what all ranks have alike, the name, details, types and shapes."""
    shown = [] if operator.shown is None else _tensors(arguments[operator.shown])
    agreed = [] if operator.agreed is None else _tensors(arguments[operator.agreed])
    checksum = zlib.crc32(str([tensor.numel() for tensor in agreed]).encode())
    details = []
    if operator.reduction is not None:
        details += _reduction_of(arguments[operator.reduction])
    if operator.root is not None:
        details.append(f"root {members[arguments[operator.root]]}")
    types = " ".join(sorted({str(tensor.dtype)[len("torch.") :] for tensor in shown}))[:_TYPES_CHARACTERS]
    shapes = ", ".join([str(list(tensor.shape)) for tensor in shown[:_TENSORS_SHOWN]])[:_SHAPES_CHARACTERS]
    if len(shown) > _TENSORS_SHOWN:
        shapes += f" and {len(shown) - _TENSORS_SHOWN} more"
    return f"{checksum}\t{operator.name}\t{', '.join(details)}\t{types}\t{shapes}"


def _tensors(argument: Any) -> Sequence[torch.Tensor]:
    """Return the tensors of an argument, which is one, a list, or a list of lists."""
    if isinstance(argument, torch.Tensor):
        return [argument]
    is_flat = not argument or isinstance(argument[0], torch.Tensor)
    return argument if is_flat else [tensor for tensors in argument for tensor in tensors]


def _reduction_of(operand: Any) -> list[str]:
    """Return the name of an operator's reduction; nothing on torch 2.6, which does not tell it."""
    return [_reductions()[operand.op()]] if hasattr(operand, "op") else []


@functools.cache
def _reductions() -> dict[int, str]:
    return {value.value: name for name, value in dist.ReduceOp.RedOpType.__members__.items()}
