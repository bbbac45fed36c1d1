"""Watches the collectives and transfers that this process enters, whatever calls them.

All of them pass torch's dispatcher, even those that C++ makes (DDP's reducer), as operators of `c10d` or
`_c10d_functional`. A dispatch mode, pushed for the block, sees these and hands each on unchanged. It follows autograd
into its threads by itself, and into threads that start inside the block with help from this module.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

import torch.distributed as dist
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _pop_mode,
    _push_mode,
    is_traceable_wrapper_subclass_type,
)

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Operators of `c10d` and `_c10d_functional` -> the name that `torch.distributed` has for the collective. A trailing
#: "_" or "_out" of the operator's name is left out here.
COLLECTIVES: Mapping[str, str] = {
    "allreduce": "all_reduce",
    "allreduce_coalesced": "all_reduce_coalesced",
    "allgather": "all_gather",
    "_allgather_base": "all_gather_into_tensor",
    "allgather_coalesced": "all_gather_coalesced",
    "allgather_into_tensor_coalesced": "all_gather_into_tensor_coalesced",
    "reduce_scatter": "reduce_scatter",
    "_reduce_scatter_base": "reduce_scatter_tensor",
    "alltoall": "all_to_all",
    "alltoall_base": "all_to_all_single",
    "barrier": "barrier",
    "monitored_barrier": "monitored_barrier",
    "broadcast": "broadcast",
    "gather": "gather",
    "gather_into_tensor": "gather_single",  # new in torch 2.14
    "scatter": "scatter",
    "reduce": "reduce",
    "all_reduce": "all_reduce",
    "all_reduce_coalesced": "all_reduce_coalesced",
    "all_gather_into_tensor": "all_gather_into_tensor",
    "all_gather_into_tensor_coalesced": "all_gather_into_tensor_coalesced",
    "all_to_all_single": "all_to_all_single",
    "reduce_scatter_tensor": "reduce_scatter_tensor",
    "reduce_scatter_tensor_coalesced": "reduce_scatter_tensor_coalesced",
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
#: Operators there that communicate nothing by themselves.
NO_COMMUNICATION = frozenset(
    {"wait_tensor", "wait_tensors", "check_for_nan", "_wrap_tensor_autograd", "mesh_get_process_group"}
)

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
