"""Writes down each collective as a rank enters it, where no death of the rank can take it.

    rank  --one line, before the collective begins-->  a file mapped into memory  <--read--  controller

Every collective passes torch's dispatcher as an operator of `c10d`, also those that C++ makes (DDP's reducer,
functional collectives). A kernel stands before each of them, below autograd and dispatch modes and above the devices'
kernels. It writes the line and hands the call on unchanged. The file belongs to one process group and keeps its last
collectives. Writing takes no system call, and no descriptor, which a rank's test could close.
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

from torch_testing_shim._engine.collectives import LINE_BYTES, LINES, GroupHeader

__all__ = ["OPERATORS", "Operator", "start_logging", "watch_collectives"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: How many tensors of a collective are written down with their shapes, and how much of them.
_TENSORS_SHOWN, _SHAPES_CHARACTERS, _TYPES_CHARACTERS = 4, 100, 40


@dataclass(frozen=True)
class Operator:
    """One operator of `c10d`.

    Attributes:
        name: what `torch.distributed` calls the collective.
        shown: which argument holds the tensors that people know it by; None for none.
        agreed: which argument holds as many elements on every rank; None for none.
        group: which argument is the process group.
        reduction: which argument is the reduction; None for none.
        root: which argument is the root's rank in the group; None for none.
    """

    name: str
    shown: int | None = 0
    agreed: int | None = 0
    group: int = 1
    reduction: int | None = None
    root: int | None = None


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


class _GroupLog:
    """The file of one process group."""

    def __init__(self, path: Path, header: GroupHeader) -> None:
        """
        Raises:
            OSError: there is no room for the file.
        """
        first = header.to_line()
        text = first + (b" " * (LINE_BYTES - 1) + b"\n") * LINES  # written: a full disk shows here and not at a line
        path.write_bytes(text)
        with path.open("r+b") as stream:
            self._lines = _mapped(stream.fileno(), len(text))[len(first) :]
        self._numbers = count(1)
        self.members = header.members

    def write(self, fields: str) -> None:
        number = next(self._numbers)
        line = f"{number}\t{fields}".encode(errors="replace")[: LINE_BYTES - 1]
        start = number % LINES * LINE_BYTES
        self._lines[start : start + LINE_BYTES] = line.ljust(LINE_BYTES - 1) + b"\n"


class CollectiveLog:
    """What this rank enters, group by group."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._pid = 0
        self._groups: WeakKeyDictionary[dist.ProcessGroup, _GroupLog] = WeakKeyDictionary()
        self._names = Counter[str]()

    def start(self, folder: Path) -> None:
        """Logs into this folder from now on."""
        folder.mkdir(mode=0o700)
        self._folder, self._pid = folder, os.getpid()

    def note(self, operator: Operator, arguments: tuple[Any, ...]) -> None:
        """Writes down that this rank enters a collective. What a process enters that the rank has forked is not its."""
        if self._folder is None or self._pid != os.getpid():
            return
        group = dist.ProcessGroup.unbox(arguments[operator.group])
        log = self._groups.get(group)
        if log is None:
            if group not in dist.distributed_c10d._world.pg_group_ranks:
                return
            log = self._groups[group] = self._new(group, self._folder)
        log.write(_fields(operator, arguments, log.members))

    def _new(self, group: dist.ProcessGroup, folder: Path) -> _GroupLog:
        name = group.group_name
        self._names[name] += 1
        ranks = dist.distributed_c10d._world.pg_group_ranks[group]
        members = tuple(sorted(ranks, key=ranks.__getitem__))
        header = GroupHeader(name, group.group_desc, self._names[name], dist.get_rank(), members)
        try:
            return _GroupLog(folder / str(self._names.total()), header)
        except OSError:  # what is not all there is no evidence
            self._folder = None
            folder.rename(folder.with_suffix(".incomplete"))
            raise


_LOG = CollectiveLog()


def start_logging(folder: Path) -> None:
    """Has this process's collectives logged into the folder, which is made; nothing happens where that cannot be.

    Args:
        folder: `ScratchFolder.collectives` of the rank.
    """
    with suppress(OSError):
        watch_collectives()
        _LOG.start(folder)


@functools.cache
def watch_collectives() -> object:
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
        if not keys.has(torch._C.DispatchKey.Meta):  # a trace communicates nothing
            with suppress(Exception):  # what cannot be written down is entered nevertheless
                _LOG.note(operator, args)
        return call(keys & below, *args, **kwargs)

    return enter


def _fields(operator: Operator, arguments: Sequence[Any], members: Sequence[int]) -> str:
    """What is written of a collective: a checksum of what all ranks have alike, name, details, types, shapes."""
    shown = [] if operator.shown is None else _tensors(arguments[operator.shown])
    agreed = [] if operator.agreed is None else _tensors(arguments[operator.agreed])
    checksum = zlib.crc32(str([tensor.numel() for tensor in agreed]).encode())
    details = []
    if operator.reduction is not None:
        details.append(_reductions()[arguments[operator.reduction].op()])
    if operator.root is not None:
        details.append(f"root {members[arguments[operator.root]]}")
    types = " ".join(sorted({str(tensor.dtype)[len("torch.") :] for tensor in shown}))[:_TYPES_CHARACTERS]
    shapes = ", ".join([str(list(tensor.shape)) for tensor in shown[:_TENSORS_SHOWN]])[:_SHAPES_CHARACTERS]
    if len(shown) > _TENSORS_SHOWN:
        shapes += f" and {len(shown) - _TENSORS_SHOWN} more"
    return f"{checksum}\t{operator.name}\t{', '.join(details)}\t{types}\t{shapes}"


def _tensors(argument: Any) -> Sequence[torch.Tensor]:
    """The tensors of an argument: one, a list, or a list of lists."""
    if isinstance(argument, torch.Tensor):
        return [argument]
    is_flat = not argument or isinstance(argument[0], torch.Tensor)
    return argument if is_flat else [tensor for tensors in argument for tensor in tensors]


@functools.cache
def _reductions() -> dict[int, str]:
    return {value.value: name for name, value in dist.ReduceOp.RedOpType.__members__.items()}


def _mapped(descriptor: int, size: int) -> memoryview:
    """The file's bytes, shared with whoever reads it. Python's `mmap` would keep a descriptor of its own.

    Raises:
        OSError: it cannot be mapped.
    """
    call = ctypes.CDLL(None, use_errno=True).mmap
    call.restype = ctypes.c_void_p
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    address = call(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, descriptor, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "cannot map a file")
    return memoryview((ctypes.c_char * size).from_address(address)).cast("B")
