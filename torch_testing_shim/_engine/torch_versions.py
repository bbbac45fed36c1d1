"""What differs between versions of torch, asked of torch itself."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import torch
import torch.distributed as dist

__all__ = ["ALL_GATHER", "REDUCE_SCATTER", "current_accelerator", "reduction_of"]

#: Names in `torch.distributed` of the collectives on one tensor that FSDP calls; renamed in torch 2.13.
ALL_GATHER = "all_gather_single" if hasattr(dist, "all_gather_single") else "all_gather_into_tensor"
REDUCE_SCATTER = "reduce_scatter_single" if hasattr(dist, "reduce_scatter_single") else "reduce_scatter_tensor"

_TORCHS = torch.accelerator.current_accelerator
#: Before torch 2.7, to ask it starts the driver, and raises where no accelerator is there.
_ANSWERS_BY_BUILD = "check_available" in inspect.signature(_TORCHS).parameters
_UNNAMED = "privateuseone"


def current_accelerator() -> torch.device | None:
    """The accelerator that this torch was built or extended for, whether or not one is there; no driver starts."""
    if _ANSWERS_BY_BUILD or torch.accelerator.current_accelerator is not _TORCHS:
        return torch.accelerator.current_accelerator()
    extension = torch._C._get_privateuse1_backend_name()
    built = {
        extension: extension != _UNNAMED,
        "cuda": torch.version.cuda is not None or torch.version.hip is not None,
        "xpu": torch._C._has_xpu,
        "mps": torch._C._has_mps,
    }
    return next((torch.device(device_type) for device_type, is_there in built.items() if is_there), None)


def reduction_of(operand: Any) -> list[str]:
    """The name of the reduction that an operator of `c10d` is called with; none on torch 2.6, which does not tell."""
    return [_reductions()[operand.op()]] if hasattr(operand, "op") else []


@functools.cache
def _reductions() -> dict[int, str]:
    return {value.value: name for name, value in dist.ReduceOp.RedOpType.__members__.items()}
