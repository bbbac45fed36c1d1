"""Collectives that run on copies of a test's tensors: copied before, and back once the work has been waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch.utils import _pytree as pytree

__all__ = ["CopyingWork", "call_on_copies", "not_compiled"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Call = TypeVar("Call", bound=Callable[..., Any])
#: A tensor of the test's, and the one that stands for it.
Copies = list[tuple[torch.Tensor, torch.Tensor]]
#: What torch's C++ holds of a work is not its Python part, which has to live until the work is done.
_UNDER_WAY: set[dist.Work] = set()


def call_on_copies(
    operator: Callable[..., Any],
    copy: Callable[[torch.Tensor], torch.Tensor | None],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Calls an operator of `c10d` on copies of tensors among its arguments, and returns what it returns for the tensors
    themselves.

    Args:
        operator: the operator, or its kernel.
        copy: what stands for a tensor; None for one that may stay.
        args: its arguments.
        kwargs: its named arguments.
    """
    copies: Copies = []

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
    return pytree.tree_map(to_own, operator(*args, **kwargs))


def not_compiled(function: Call) -> Call:
    """A function that C++ calls, where torch.compile may be about to compile whatever Python runs in the thread."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    frames: Any = torch._C._dynamo.eval_frame  # what torch.compiler.disable sets, without importing the compiler
    if hasattr(frames, "set_code_exec_strategy"):
        skip = frames._FrameAction.SKIP
        frames.set_code_exec_strategy(call.__code__, frames._FrameExecStrategy(skip, skip))  # and what it calls
    return cast(Call, call)


class CopyingWork(dist.Work):
    """Works on copies of tensors, which are the tensors' own values again once they have been waited for."""

    def __init__(self, works: Sequence[dist.Work], copies: Copies) -> None:
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
