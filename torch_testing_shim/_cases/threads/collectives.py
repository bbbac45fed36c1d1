"""Collectives of ranks that are threads: what each does with the tensors of all ranks, and their descriptions and
works.

A function takes what every rank has brought, in the order of ranks, and fills the tensors that take the result.

Tensors are filled as collectives in C++ do it: autograd does not notice, and counts no new version of them.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import ReduceOp
from torch.futures import Future
from torch.utils import _pytree

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Tensors = Sequence[torch.Tensor]
_leaves: Callable[[Any], list[Any]] = _pytree.tree_leaves
#: Its stubs lack some names.
_C10D: Any = torch._C._distributed_c10d


def _by_stack(tensors: Tensors, op: Callable[..., torch.Tensor]) -> torch.Tensor:
    return op(torch.stack(list(tensors)), dim=0)


def _mean(stack: torch.Tensor, dim: int) -> torch.Tensor:
    if stack.is_floating_point() or stack.is_complex():
        return stack.mean(dim=dim)
    return stack.sum(dim=dim) // stack.shape[dim]


_REDUCTIONS: dict[Any, Callable[[Tensors], torch.Tensor]] = {
    ReduceOp.SUM: functools.partial(_by_stack, op=torch.sum),
    ReduceOp.AVG: functools.partial(_by_stack, op=_mean),
    ReduceOp.PRODUCT: functools.partial(_by_stack, op=torch.prod),
    ReduceOp.MIN: functools.partial(_by_stack, op=torch.amin),
    ReduceOp.MAX: functools.partial(_by_stack, op=torch.amax),
    ReduceOp.BAND: functools.partial(functools.reduce, torch.bitwise_and),
    ReduceOp.BOR: functools.partial(functools.reduce, torch.bitwise_or),
    ReduceOp.BXOR: functools.partial(functools.reduce, torch.bitwise_xor),
}


def _operator_of(op: Any) -> Any:
    """Return the plain operator (`ReduceOp.SUM`) of a `ReduceOp` or of an operator."""
    return getattr(op, "op", op)


def _reduced(tensors: Tensors, op: Any) -> torch.Tensor:
    """Reduce the tensors, on the device of the first."""
    reduction = _REDUCTIONS.get(_operator_of(op))
    if reduction is None:
        raise NotImplementedError(f"threaded ranks cannot reduce by {_operator_of(op)}")
    return reduction([tensor.data.to(tensors[0].device) for tensor in tensors])


def _fill(target: torch.Tensor, source: torch.Tensor) -> None:
    target.data.copy_(source.data)


def all_reduce(op: Any, data: Sequence[Tensors]) -> None:
    """Each rank brings a list of tensors; all get, one by one, the reduction over ranks."""
    for same in zip(*data, strict=True):
        result = _reduced(same, op)
        for tensor in same:
            _fill(tensor, result)


def broadcast(root: int, data: Sequence[Any]) -> None:
    """Each rank brings a list of tensors; all get those of rank `root`."""
    source = _leaves(data[root])
    for rank, brought in enumerate(data):
        if rank != root:
            for target, tensor in zip(_leaves(brought), source, strict=True):
                _fill(target, tensor)


def all_gather(data: Sequence[tuple[Sequence[Tensors], Tensors]]) -> None:
    """Each rank brings `([outputs], [input])`; all get the inputs of all."""
    for root in range(len(data)):
        gather(root, data)


def gather(root: int, data: Sequence[tuple[Sequence[Tensors], Tensors]]) -> None:
    """Each rank brings `([outputs], [input])`, and all but rank `root` no outputs; `root` gets the inputs of all."""
    (outputs,) = data[root][0]
    for target, (_, (tensor,)) in zip(outputs, data, strict=True):
        _fill(target, tensor)


def scatter(root: int, data: Sequence[tuple[Tensors, Sequence[Tensors]]]) -> None:
    """Each rank brings `([output], [inputs])`, and all but rank `root` no inputs; each gets its input of `root`."""
    (inputs,) = data[root][1]
    for ((target,), _), tensor in zip(data, inputs, strict=True):
        _fill(target, tensor)


def reduce_scatter(op: Any, data: Sequence[tuple[Tensors, Sequence[Tensors]]]) -> None:
    """Each rank brings `([output], [inputs])`; rank r gets the reduction of all ranks' r-th inputs."""
    shares = zip(*(inputs for _, (inputs,) in data), strict=True)
    results = [_reduced(share, op) for share in shares]  # all, before an output overwrites an input
    for ((target,), _), result in zip(data, results, strict=True):
        _fill(target, result)


def all_to_all(data: Sequence[tuple[Tensors, Tensors]]) -> None:
    """Each rank brings `(outputs, inputs)`; rank r gets as its s-th output the r-th input of rank s."""
    columns = [[tensor.data.clone() for tensor in column] for column in zip(*(i for _, i in data), strict=True)]
    for (outputs, _), column in zip(data, columns, strict=True):
        for target, tensor in zip(outputs, column, strict=True):
            _fill(target, tensor)


def all_to_all_single(data: Sequence[tuple[torch.Tensor, torch.Tensor, Any, Any]]) -> None:
    """Each rank brings `(output, input, output_splits, input_splits)`; the tensors are split along dimension 0, evenly
    where the splits are empty or None, and the parts exchanged as in `all_to_all`."""
    all_to_all([(_parts(out, outs, len(data)), _parts(given, ins, len(data))) for out, given, outs, ins in data])


def _parts(tensor: torch.Tensor, splits: Any, count: int) -> list[torch.Tensor]:
    sizes = [int(size) for size in splits] if splits is not None else []
    if not sizes:
        if tensor.shape[0] % count:
            raise ValueError(f"{tensor.shape[0]} rows cannot be split evenly between {count} ranks")
        sizes = [tensor.shape[0] // count] * count
    if sum(sizes) != tensor.shape[0]:
        raise ValueError(f"splits {sizes} do not add up to the {tensor.shape[0]} rows of the tensor")
    starts = [0, *itertools.accumulate(sizes)]
    return [tensor.data[start : start + size] for start, size in zip(starts, sizes, strict=False)]


def ret_work(ret: Any) -> dist.Work:
    """Make a completed work with the result `ret`."""
    done: Future[Any] = Future()
    done.set_result(ret)
    make: Callable[[Any], dist.Work] = _C10D._create_work_from_future
    return make(done)


def described(tensors: Any) -> tuple[str, tuple[Any, ...]]:
    """Return the shapes and types of tensors for people, and their numbers of elements and types for comparison."""
    flat = _leaves(tensors)
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
    return f" by {getattr(_operator_of(op), 'name', _operator_of(op))}"


def rows_of(whole: torch.Tensor, count: int, part: torch.Tensor) -> list[torch.Tensor]:
    """Return the `count` equal parts of a tensor, as views in the shape of `part`.

    Raises:
        ValueError: their sizes do not match.
    """
    if whole.numel() != count * part.numel():
        raise ValueError(f"{list(whole.shape)} are not {count} tensors of {list(part.shape)}")
    return [row.view(part.shape) for row in whole.data.view(count, part.numel())]
