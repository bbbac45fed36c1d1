"""Collectives of ranks that are threads: what each does with the tensors of all ranks, and their descriptions and
works.

A class stands for a collective; its `work` takes what every rank has brought, in the order of ranks, and fills the
tensors that take the result. Names and shapes are upstream's (`distributed.multi_threaded_pg`, torch 2.13).

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
#: Its stubs lack some names.
_C10D: Any = torch._C._distributed_c10d


def flatten_list(lst: Any) -> list[Any]:
    """Return the tensors in nested lists, in their order."""
    return _pytree.tree_leaves(lst)


def binop_reduce(tensors: Tensors, op: Callable[..., Any]) -> torch.Tensor:
    """Reduce tensors of one shape by `op`, which takes a stack of them and the dimension to reduce (`torch.sum`,
    `torch.max`)."""
    reduced = op(torch.stack(list(tensors)), dim=0)
    return reduced if isinstance(reduced, torch.Tensor) else reduced.values


def bitwise_reduce(tensors: Tensors, op: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Reduce tensors by `op`, which takes two of them."""
    return functools.reduce(op, tensors)


def _mean(stack: torch.Tensor, dim: int) -> torch.Tensor:
    if stack.is_floating_point() or stack.is_complex():
        return stack.mean(dim=dim)
    return stack.sum(dim=dim) // stack.shape[dim]


_REDUCTIONS: dict[Any, Callable[[Tensors], torch.Tensor]] = {
    ReduceOp.SUM: functools.partial(binop_reduce, op=torch.sum),
    ReduceOp.AVG: functools.partial(binop_reduce, op=_mean),
    ReduceOp.PRODUCT: functools.partial(binop_reduce, op=torch.prod),
    ReduceOp.MIN: functools.partial(binop_reduce, op=torch.amin),
    ReduceOp.MAX: functools.partial(binop_reduce, op=torch.amax),
    ReduceOp.BAND: functools.partial(bitwise_reduce, op=torch.bitwise_and),
    ReduceOp.BOR: functools.partial(bitwise_reduce, op=torch.bitwise_or),
    ReduceOp.BXOR: functools.partial(bitwise_reduce, op=torch.bitwise_xor),
}


def _operator_of(op: Any) -> Any:
    """Return the plain operator (`ReduceOp.SUM`) of a `ReduceOp` or of an operator."""
    return getattr(op, "op", op)


def _reduced(tensors: Tensors, op: Any) -> torch.Tensor:
    """Reduce the tensors, on the device of the first.

    Raises:
        NotImplementedError: the operator is not known here.
    """
    reduction = _REDUCTIONS.get(_operator_of(op))
    if reduction is None:
        raise NotImplementedError(f"threaded ranks cannot reduce by {_operator_of(op)}")
    return reduction([tensor.data.to(tensors[0].device) for tensor in tensors])


def _fill(target: torch.Tensor, source: torch.Tensor) -> None:
    target.data.copy_(source.data)


class AllReduce:
    """Each rank brings a list of tensors; all get, one by one, the reduction over ranks."""

    def __init__(self, op: Any) -> None:
        self.op = op

    def work(self, data: Sequence[Tensors]) -> None:
        for same in zip(*data, strict=True):
            result = _reduced(same, self.op)
            for tensor in same:
                _fill(tensor, result)


class Broadcast:
    """Each rank brings a list of tensors; all get those of rank `src`."""

    def __init__(self, src: int) -> None:
        self.src = src

    def work(self, data: Sequence[Any]) -> None:
        source = flatten_list(data[self.src])
        for rank, brought in enumerate(data):
            if rank != self.src:
                for target, tensor in zip(flatten_list(brought), source, strict=True):
                    _fill(target, tensor)


class AllGather:
    """Each rank brings `([outputs], [input])`; all get the inputs of all."""

    def work(self, data: Sequence[tuple[Sequence[Tensors], Tensors]]) -> None:
        inputs = [tensor for _, (tensor,) in data]
        for (outputs,), _ in data:
            for target, tensor in zip(outputs, inputs, strict=True):
                _fill(target, tensor)


class Gather:
    """Each rank brings `([outputs], [input])`, and all but rank `dst` no outputs; `dst` gets the inputs of all."""

    def __init__(self, dst: int) -> None:
        self.dst = dst

    def work(self, data: Sequence[tuple[Sequence[Tensors], Tensors]]) -> None:
        (outputs,) = data[self.dst][0]
        for target, (_, (tensor,)) in zip(outputs, data, strict=True):
            _fill(target, tensor)


class Scatter:
    """Each rank brings `([output], [inputs])`, and all but rank `src` no inputs; each gets its input of `src`."""

    def __init__(self, src: int) -> None:
        self.src = src

    def work(self, data: Sequence[tuple[Tensors, Sequence[Tensors]]]) -> None:
        (inputs,) = data[self.src][1]
        for ((target,), _), tensor in zip(data, inputs, strict=True):
            _fill(target, tensor)


class ReduceScatter:
    """Each rank brings `([output], [inputs])`; rank r gets the reduction of all ranks' r-th inputs."""

    def __init__(self, op: Any) -> None:
        self.op = op

    def work(self, data: Sequence[tuple[Tensors, Sequence[Tensors]]]) -> None:
        shares = zip(*(inputs for _, (inputs,) in data), strict=True)
        results = [_reduced(share, self.op) for share in shares]  # all, before an output overwrites an input
        for ((target,), _), result in zip(data, results, strict=True):
            _fill(target, result)


class AllToAll:
    """Each rank brings `(outputs, inputs)`; rank r gets as its s-th output the r-th input of rank s."""

    def work(self, data: Sequence[tuple[Tensors, Tensors]]) -> None:
        columns = [[tensor.data.clone() for tensor in column] for column in zip(*(i for _, i in data), strict=True)]
        for (outputs, _), column in zip(data, columns, strict=True):
            for target, tensor in zip(outputs, column, strict=True):
                _fill(target, tensor)


class AllToAllBase:
    """Each rank brings `(output, input, output_splits, input_splits)`; the tensors are split along dimension 0, evenly
    where the splits are empty or None, and the parts exchanged as in `AllToAll`."""

    def work(self, data: Sequence[tuple[torch.Tensor, torch.Tensor, Any, Any]]) -> None:
        count = len(data)
        AllToAll().work(
            [
                (_parts(output, output_splits, count), _parts(tensor, input_splits, count))
                for output, tensor, output_splits, input_splits in data
            ]
        )


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
    return f" by {getattr(_operator_of(op), 'name', _operator_of(op))}"


def rows_of(whole: torch.Tensor, count: int, part: torch.Tensor) -> list[torch.Tensor]:
    """Return the `count` equal parts of a tensor, as views in the shape of `part`.

    Raises:
        ValueError: their sizes do not match.
    """
    if whole.numel() != count * part.numel():
        raise ValueError(f"{list(whole.shape)} are not {count} tensors of {list(part.shape)}")
    return [row.view(part.shape) for row in whole.data.view(count, part.numel())]
