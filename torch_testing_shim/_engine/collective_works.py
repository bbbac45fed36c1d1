"""Works that the harness makes in torch's place: collectives on copies of tensors, and messages from a rank to itself.

Tensors are copied before a collective, and back once its work has been waited for. Messages to oneself, for which gloo
has no connection, wait in a queue.
"""

from __future__ import annotations

import threading
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch.utils import _pytree as pytree

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_Call = TypeVar("_Call", bound=Callable[..., Any])
#: Pairs of a tensor of the test's and its copy.
_Copies = list[tuple[torch.Tensor, torch.Tensor]]
#: Works that have not been waited for: torch's C++ keeps no reference to the Python object of a work.
_UNDER_WAY: set[dist.Work] = set()
#: Registrations of kernels, which last as long as these live.
_LIBRARIES: list[Any] = []


def call_on_copies(
    operator: Callable[..., Any],
    copy: Callable[[torch.Tensor], torch.Tensor | None],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Call an operator of `c10d`, or its kernel, on copies of tensors among its arguments, and return what it returns
    for the tensors themselves. `copy` returns None for a tensor that may stay."""
    copies: _Copies = []

    def to_copy(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or (made := copy(value)) is None:
            return value
        copies.append((value, made))
        return made

    def to_own(value: Any) -> Any:
        if isinstance(value, torch.ScriptObject):
            return CopyingWork([dist.Work.unbox(value)], copies).boxed()
        return next((own for own, made in copies if made is value), value)

    args, kwargs = pytree.tree_map(to_copy, (args, kwargs))
    result = operator(*args, **kwargs)
    # Where nothing is copied back, the work is torch's own: C++ asks it for its tensors, and waits for it repeatedly.
    return pytree.tree_map(to_own, result) if copies else result


def not_compiled(function: _Call) -> _Call:
    """Keep torch.compile away from a function that C++ calls in a thread whose Python is being compiled."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    frames: Any = torch._C._dynamo.eval_frame  # as torch.compiler.disable does, without importing the compiler
    if hasattr(frames, "set_code_exec_strategy"):
        skip = frames._FrameAction.SKIP
        frames.set_code_exec_strategy(call.__code__, frames._FrameExecStrategy(skip, skip))  # and its callees
    return cast(_Call, call)


def replace_kernels(kernels: Mapping[str, Callable[..., Any]], key: str) -> None:
    """Put kernels, by the names of their operators of `c10d`, in the place of torch's own for a dispatch key, for the
    rest of this process."""
    make_library: Any = torch.library.Library  # untyped in torch
    library = make_library("c10d", "IMPL")
    _LIBRARIES.append(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that its own kernels are replaced
        for name, kernel in kernels.items():
            library.impl(name, not_compiled(kernel), key)


class CopyingWork(dist.Work):
    """Works on copies of tensors. Once they have been waited for, the copies are written back."""

    def __init__(self, works: Sequence[dist.Work], copies: _Copies) -> None:
        super().__init__()
        self._works = works
        self._copies = copies
        _UNDER_WAY.add(self)

    @not_compiled
    def wait(self, timeout: Any = None) -> bool:
        is_done = [work.wait() if timeout is None else work.wait(timeout) for work in self._works]
        self._copy_back()
        return all(is_done)

    def get_future(self) -> Any:
        def copy_back(done: Any) -> Any:
            self._copy_back()
            return [each.value() for each in done.value()][-1] if self._works else []

        return torch.futures.collect_all([work.get_future() for work in self._works]).then(copy_back)

    @not_compiled
    def is_completed(self) -> bool:
        return all(work.is_completed() for work in self._works)

    def _source_rank(self) -> int:
        return self._works[0]._source_rank()

    def _copy_back(self) -> None:
        # Operators name their outputs first: an output that is a part of an input is written last, and stays.
        while self._copies:
            own, copy = self._copies.pop()
            own.data.copy_(copy)
        _UNDER_WAY.discard(self)


def cpu_backend(group: Any) -> Any:
    """Return the CPU's backend of a process group, which is given as operators are given it."""
    return dist.ProcessGroup.unbox(group)._get_backend(torch.device("cpu"))


class OwnMessages:
    """Kernels of `send` and `recv_` that keep a rank's messages to itself, by group and tag."""

    def __init__(self) -> None:
        self._lines: defaultdict[tuple[str, int], _Line] = defaultdict(_Line)

    def send(self, tensors: list[torch.Tensor], group: Any, to: int, tag: int) -> Any:
        own = dist.ProcessGroup.unbox(group)
        if to != own.rank():
            return cpu_backend(group).send(tensors, to, tag).boxed()
        self._lines[own.group_name, tag].put([tensor.detach().clone() for tensor in tensors])
        return _Delivery(to, is_done=True).boxed()

    def receive(self, tensors: list[torch.Tensor], group: Any, sender: int, tag: int) -> Any:
        own = dist.ProcessGroup.unbox(group)
        if sender != own.rank():
            return cpu_backend(group).recv(tensors, sender, tag).boxed()
        delivery = _Delivery(sender, is_done=False)
        self._lines[own.group_name, tag].take(tensors, delivery)
        return delivery.boxed()


class _Line:
    """A queue of messages that wait for receivers, or of receivers that wait for messages."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: deque[list[torch.Tensor]] = deque()
        self._awaited: deque[tuple[list[torch.Tensor], _Delivery]] = deque()

    def put(self, message: list[torch.Tensor]) -> None:
        with self._lock:
            self._sent.append(message)
            self._deliver()

    def take(self, tensors: list[torch.Tensor], delivery: _Delivery) -> None:
        with self._lock:
            self._awaited.append((tensors, delivery))
            self._deliver()

    def _deliver(self) -> None:
        while self._sent and self._awaited:
            tensors, delivery = self._awaited.popleft()
            for tensor, sent in zip(tensors, self._sent.popleft(), strict=True):
                tensor.data.copy_(sent.view_as(tensor))
            delivery.done.set()


class _Delivery(dist.Work):
    """The work of one side of a message."""

    def __init__(self, peer: int, *, is_done: bool) -> None:
        super().__init__()
        self._peer = peer
        self.done = threading.Event()
        if is_done:
            self.done.set()
        _UNDER_WAY.add(self)

    @not_compiled
    def wait(self, timeout: Any = None) -> bool:
        self.done.wait()
        _UNDER_WAY.discard(self)
        return True

    def is_completed(self) -> bool:
        return self.done.is_set()

    def _source_rank(self) -> int:
        return self._peer
