"""Functions of torch that FSDP calls, replaced on all ranks for a while; and a collective that checks what it gets.

Ranks may be threads of one process, which share what is replaced. So all ranks have read the original before one
replaces it, and all have left the body before one puts it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
import torch.distributed as dist

from torch_testing_shim._torch_versions import ALL_GATHER, REDUCE_SCATTER

__all__ = [
    "patch_all_gather",
    "patch_all_reduce",
    "patch_foreach_all_gather",
    "patch_foreach_reduce",
    "patch_post_backward",
    "patch_reduce_scatter",
    "patch_register_post_backward_hook_backward",
    "patch_reshard",
    "patch_unshard",
    "reduce_scatter_with_assert",
]

Patch = AbstractContextManager[None]


@contextmanager
def _replaced(owner: Any, name: str, replacement: Callable[..., Any]) -> Iterator[None]:
    original = getattr(owner, name)
    dist.barrier()
    setattr(owner, name, replacement)
    try:
        yield
        dist.barrier()  # not after an exception: the other ranks may never come
    finally:
        setattr(owner, name, original)


def _param_groups() -> Any:
    import torch.distributed.fsdp._fully_shard._fsdp_param_group as module

    return module


def patch_all_gather(new_all_gather_into_tensor: Callable[..., Any]) -> Patch:
    """Context: FSDP gathers parameters by this function (upstream's `patch_all_gather`, torch 2.13). It is called as
    `torch.distributed.all_gather_single`, which torch called `all_gather_into_tensor` before 2.13."""
    return _replaced(dist, ALL_GATHER, new_all_gather_into_tensor)


def patch_reduce_scatter(new_reduce_scatter_tensor: Callable[..., Any]) -> Patch:
    """Context: FSDP reduces gradients by this function (upstream's `patch_reduce_scatter`, torch 2.13). It is called as
    `torch.distributed.reduce_scatter_single`, which torch called `reduce_scatter_tensor` before 2.13."""
    return _replaced(dist, REDUCE_SCATTER, new_reduce_scatter_tensor)


def patch_all_reduce(new_all_reduce: Callable[..., Any]) -> Patch:
    """Context: `torch.distributed.all_reduce` is this function (upstream's `patch_all_reduce`, torch 2.13)."""
    return _replaced(dist, "all_reduce", new_all_reduce)


def patch_foreach_all_gather(new_foreach_all_gather: Callable[..., Any]) -> Patch:
    """Context: `fully_shard` gathers a group of parameters by this function (upstream's name, torch 2.13)."""
    return _replaced(_param_groups(), "foreach_all_gather", new_foreach_all_gather)


def patch_foreach_reduce(new_foreach_reduce: Callable[..., Any]) -> Patch:
    """Context: `fully_shard` reduces a group of gradients by this function (upstream's name, torch 2.13)."""
    return _replaced(_param_groups(), "foreach_reduce", new_foreach_reduce)


def patch_unshard(new_unshard: Callable[..., Any]) -> Patch:
    """Context: `FSDPParamGroup.unshard` is this function (upstream's `patch_unshard`, torch 2.13)."""
    return _replaced(_param_groups().FSDPParamGroup, "unshard", new_unshard)


def patch_reshard(new_reshard: Callable[..., Any]) -> Patch:
    """Context: `FSDPParamGroup.reshard` is this function (upstream's `patch_reshard`, torch 2.13)."""
    return _replaced(_param_groups().FSDPParamGroup, "reshard", new_reshard)


def patch_post_backward(new_post_backward: Callable[..., Any]) -> Patch:
    """Context: `FSDPParamGroup.post_backward` is this function (upstream's `patch_post_backward`, torch 2.13)."""
    return _replaced(_param_groups().FSDPParamGroup, "post_backward", new_post_backward)


def patch_register_post_backward_hook_backward(new_backward: Callable[..., Any]) -> Patch:
    """Context: `RegisterPostBackwardFunction.backward` is this function (upstream's name, torch 2.13)."""
    return _replaced(_param_groups().RegisterPostBackwardFunction, "backward", new_backward)


def reduce_scatter_with_assert(
    cls: Any,
    orig_reduce_scatter: Callable[..., Any],
    assert_fn: Callable[[torch.Tensor], object],
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Calls `assert_fn` with the output tensor, then `orig_reduce_scatter` with all arguments (upstream's name,
    torch 2.13). Handed to `patch_reduce_scatter` by `functools.partial`.

    Args:
        cls: the test case; not used.
        args, kwargs: the collective's; the output is the first, or called `output`.

    Raises:
        AssertionError: there is no output among the arguments.
    """
    if not args and "output" not in kwargs:
        raise AssertionError(f"reduce-scatter was called without an output: {sorted(kwargs)}")
    assert_fn(args[0] if args else kwargs["output"])
    return orig_reduce_scatter(*args, **kwargs)
