"""Messages from a rank to itself, which gloo has no connection for."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from typing import Any

import torch
import torch.distributed as dist

from torch_testing_shim._engine.collective_copies import not_compiled

__all__ = ["OwnMessages", "cpu_backend"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def cpu_backend(group: Any) -> Any:
    """The backend that a process group, as operators are given it, has for the CPU."""
    return dist.ProcessGroup.unbox(group)._get_backend(torch.device("cpu"))


class OwnMessages:
    """Kernels of `send` and `recv_` that keep what a rank sends itself, by group and tag."""

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
    """Messages that wait for a receiver, or receivers that wait for a message, in their order."""

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

    #: What torch's C++ holds of a work is not its Python part, which has to live until it has been waited for.
    _under_way: set[dist.Work] = set()  # noqa: RUF012 - of all of them

    def __init__(self, peer: int, *, is_done: bool) -> None:
        super().__init__()
        self._peer = peer
        self.done = threading.Event()
        if is_done:
            self.done.set()
        self._under_way.add(self)

    @not_compiled
    def wait(self, timeout: Any = None) -> bool:
        self.done.wait()
        self._under_way.discard(self)
        return True

    def is_completed(self) -> bool:
        return self.done.is_set()

    def _source_rank(self) -> int:
        return self._peer
