"""What collectives of threads are told by and return: tensors in words, and works that are done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch.futures import Future

from torch_testing_shim._cases.threads.threaded_collectives import flatten_list, operator_of

__all__ = ["Receipt", "by", "described", "listed", "ret_work", "rows_of"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Whose stubs lack some names.
_C10D: Any = torch._C._distributed_c10d


def ret_work(ret: Any) -> dist.Work:
    """A work that is done and has the result `ret`."""
    done: Future[Any] = Future()
    done.set_result(ret)
    make: Callable[[Any], dist.Work] = _C10D._create_work_from_future
    return make(done)


def described(tensors: Any) -> tuple[str, tuple[Any, ...]]:
    """Shapes and types of tensors for people, and their numbers of elements and types for comparison."""
    flat = flatten_list(tensors)
    shapes = ", ".join(f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for tensor in flat)
    return f"of {shapes}", tuple((tensor.numel(), tensor.dtype) for tensor in flat)


class Receipt(dist.Work):
    """The work of a `recv`."""

    def __init__(self, wait: Callable[[], None]) -> None:
        super().__init__()
        self._wait = wait

    def wait(self, timeout: Any = None) -> bool:
        self._wait()
        return True


def listed(tensors: Any) -> list[torch.Tensor]:
    return [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)


def by(op: Any) -> str:
    return f" by {getattr(operator_of(op), 'name', operator_of(op))}"


def rows_of(whole: torch.Tensor, count: int, part: torch.Tensor) -> list[torch.Tensor]:
    """The `count` equal parts of a tensor, as views that have the shape of `part`.

    Raises:
        ValueError: they are not of its size.
    """
    if whole.numel() != count * part.numel():
        raise ValueError(f"{list(whole.shape)} are not {count} tensors of {list(part.shape)}")
    return [row.view(part.shape) for row in whole.data.view(count, part.numel())]
