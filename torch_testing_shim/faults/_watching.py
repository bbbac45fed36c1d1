"""Watches the collectives, transfers and function calls of this process, for a block.

Collectives and transfers are seen whatever calls them. All of them pass torch's dispatcher, even those that C++ makes
(DDP's reducer), as operators of `c10d` or `_c10d_functional`. A dispatch mode, pushed for the block, sees these and
hands each on unchanged. It follows autograd into its threads by itself, and into threads that start inside the block
with help from this module.

Functions are replaced and put back at the block's end: a module's, or a method in a class and all its subclasses. Their
calls are seen in whatever thread they are made.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType, ModuleType
from typing import Any

import torch.distributed as dist
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _pop_mode,
    _push_mode,
    is_traceable_wrapper_subclass_type,
)

from torch_testing_shim._engine.collective_log import OPERATORS
from torch_testing_shim.faults._points import CallPoint

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Operators of `c10d` and `_c10d_functional` -> the name that `torch.distributed` has for the collective. A trailing
#: "_" or "_out" of the operator's name is left out here.
COLLECTIVES: Mapping[str, str] = {
    **{name.removesuffix("_"): operator.name for name, operator in OPERATORS.items()},
    **{operator.name: operator.name for operator in OPERATORS.values()},  # functional ones have these names
    "gather_into_tensor": "gather_single",  # new in torch 2.14
    "shard_dim_alltoall": "all_to_all_single",  # DTensor's own
}
#: The same for point-to-point calls.
TRANSFERS: Mapping[str, str] = {
    "send": "send",
    "recv": "recv",
    "recv_any_source": "recv",
    "isend": "send",
    "irecv": "recv",
    "batch_p2p_ops": "batch_isend_irecv",
}
_NAMESPACES = ("c10d", "_c10d_functional", "_dtensor")
_C10D_FILE = dist.distributed_c10d.__file__

#: Called before each collective and transfer: its name, and whether it is a transfer.
Listener = Callable[[str, bool], None]


@contextmanager
def watch_communication(listener: Listener) -> Iterator[None]:
    """Call the listener for each collective and transfer of this thread, autograd's threads for it, and threads started
    inside the block.

    The listener is called in the thread that communicates, before anything is sent; what it raises is raised there.
    """
    is_over = threading.Event()

    def tell(name: str, is_transfer: bool) -> None:
        if not is_over.is_set():  # a thread may outlive the block
            listener(name, is_transfer)

    with ExitStack() as stack:
        stack.callback(is_over.set)
        stack.enter_context(_followed_threads(tell))
        stack.enter_context(_Watch(tell))
        yield


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The mode of one thread."""

    def __init__(self, listener: Listener) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._listener = listener
        self._object_collective: FrameType | None = None

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func.namespace in _NAMESPACES:
            self._see(func._schema.name.rpartition("::")[2])
        elif any(map(is_traceable_wrapper_subclass_type, types)):
            return NotImplemented  # DTensor and its like answer by operators on plain tensors, which come here again
        return func(*args, **(kwargs or {}))

    def _see(self, operator: str) -> None:
        plain = operator.removesuffix("_").removesuffix("_out")
        is_transfer = plain in TRANSFERS
        name = TRANSFERS.get(plain) or COLLECTIVES.get(plain)
        if name is None:
            return
        frame = _object_collective_on_the_stack()
        if frame is not None:
            if frame is self._object_collective:
                return  # sizes went first, now the bytes: one call of the user's
            name = frame.f_code.co_name
        # The frame is kept until the next one: as long as it lives, no other call can be taken for it.
        self._object_collective = frame
        self._listener(name, is_transfer)


def _object_collective_on_the_stack() -> FrameType | None:
    """Return the call of `all_gather_object`, `send_object_list` or one of their kin that this thread is in."""
    found = None
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        code = frame.f_code
        if code.co_filename == _C10D_FILE and "_object" in code.co_name and not code.co_name.startswith("_"):
            found = frame
        frame = frame.f_back
    return found


@contextmanager
def _followed_threads(listener: Listener) -> Iterator[None]:
    """Run threads that are started inside the block under a mode of their own."""
    start = threading.Thread.start

    def start_followed(thread: threading.Thread) -> None:
        run = thread.run

        def run_watched() -> None:
            # Not `with _Watch()`: what that keeps for torch.compile is the process's, and threads end in any order.
            watch = _Watch(listener)  # kept here: torch 2.6 frees what only its stack of modes holds too early
            _push_mode(watch)
            try:
                run()
            finally:
                _pop_mode()

        thread.run = run_watched  # type: ignore[method-assign]
        start(thread)

    threading.Thread.start = start_followed  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]


Function = Callable[..., Any]


@contextmanager
def watch_calls(point: CallPoint, listener: Callable[[], None]) -> Iterator[None]:
    """Call the listener for each call of the point's functions, in the calling thread; its exceptions are raised there.
    A call made inside such a call (a method that calls its base's) does not count.

    Raises:
        ValueError: a function belongs to a class that cannot be changed, one written in C.
    """
    inside = threading.local()

    def counted(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if getattr(inside, "entered", False):
                return function(*args, **kwargs)
            inside.entered = True
            try:
                if not point.after:
                    listener()
                result = function(*args, **kwargs)
                if point.after:
                    listener()
                return result
            finally:
                inside.entered = False

        return wrapper

    with ExitStack() as stack:
        for name in point.functions:
            for holder, function in _versions(point.owner, name):
                stack.enter_context(_replaced(holder, name, counted(function)))
        yield


def _versions(owner: type | ModuleType, name: str) -> list[tuple[type | ModuleType, Function]]:
    """Find where the function has to be replaced, and what is there now."""
    if isinstance(owner, ModuleType):
        return [(owner, getattr(owner, name))]
    holders = [cls for cls in _family(owner) if name in vars(cls)]
    versions: list[tuple[type | ModuleType, Function]] = [(cls, vars(cls)[name]) for cls in holders]
    if owner not in holders:
        versions.append((owner, _inherited(owner, name)))
    return versions


def _family(cls: type) -> list[type]:
    """Return the class and all its subclasses, each once."""
    derived: list[type] = cls.__subclasses__()
    return list(dict.fromkeys([cls, *(below for one in derived for below in _family(one))]))


def _inherited(owner: type, name: str) -> Function:
    def call_base(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(super(owner, self), name)(*args, **kwargs)

    return call_base


@contextmanager
def _replaced(holder: type | ModuleType, name: str, function: Function) -> Iterator[None]:
    own = vars(holder).get(name)
    try:
        setattr(holder, name, function)
    except TypeError as error:
        raise ValueError(f"calls of {holder.__name__}.{name} cannot be counted: {error}") from error
    try:
        yield
    finally:
        if own is None:
            delattr(holder, name)
        else:
            setattr(holder, name, own)
