"""Torch's modules that run on several devices, or on accelerators alone, in a run that maps devices.

The parts and copies that `torch.nn.parallel` spreads over simulated devices lie on the other device, all of them, so
they are made without copies between devices. `SyncBatchNorm` sums over the ranks by functions that have derivatives;
torch's own kernels for it exist for accelerators alone.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.distributed.fsdp import _init_utils as fsdp_init
from torch.distributed.fsdp._flat_param import FlatParamHandle
from torch.distributed.nn import functional
from torch.nn.parallel import DistributedDataParallel, _functions as parallel, comm

_Tensors = tuple[torch.Tensor, ...]


def run_on_simulated_devices() -> None:
    """Replace what `torch.nn.parallel` and `SyncBatchNorm` do to tensors, and what DDP and FSDP refuse on the CPU, for
    the rest of this process."""
    for kind, apply in ((parallel.Scatter, _scattered), (parallel.Gather, _gathered), (parallel.Broadcast, _copied)):
        setattr(kind, "apply", staticmethod(apply))  # noqa: B010 - mypy knows no such assignment
    comm.broadcast_coalesced = lambda tensors, devices, *_: [[each.clone() for each in tensors] for _ in devices]
    # It refuses modules of the CPU that have a SyncBatchNorm, and a hook's bfloat16 without NCCL.
    DistributedDataParallel._passing_sync_batchnorm_handle = lambda *_: None  # type: ignore[method-assign]
    check: Any = DistributedDataParallel._check_comm_hook  # untyped in torch
    DistributedDataParallel._check_comm_hook = functools.wraps(check)(  # type: ignore[method-assign]
        lambda self, hook: None if hook.__name__.startswith("bf16_compress_") else check(self, hook)
    )
    # FSDP1 refuses to synchronise modules of the CPU, and frees what it has brought to the CPU, as a copy.
    setattr(fsdp_init, "_check_module_states_for_sync_module_states", lambda _: None)  # noqa: B010
    bring: Any = FlatParamHandle.flat_param_to
    FlatParamHandle.flat_param_to = functools.wraps(bring)(  # type: ignore[method-assign]
        lambda self, *args, **kwargs: bring(self, *args, **{**kwargs, "copy": True})
    )
    forward = torch.nn.SyncBatchNorm.forward
    torch.nn.SyncBatchNorm.forward = functools.wraps(forward)(  # type: ignore[method-assign]
        lambda self, input: _normalized(self, forward, input)
    )


def _scattered(devices: list[int], sizes: list[int] | None, dim: int, whole: Any) -> _Tensors:
    return tuple(whole.split(list(sizes), dim) if sizes else whole.chunk(len(devices), dim))


def _gathered(device: object, dim: int, *parts: torch.Tensor) -> torch.Tensor:
    if dim == 0 and all(part.dim() == 0 for part in parts):
        warnings.warn("scalars cannot be gathered along a dimension; they become a vector", stacklevel=2)
        return torch.stack(parts)
    return torch.cat(parts, dim)


def _copied(devices: list[int], *tensors: torch.Tensor) -> _Tensors:
    """Return copies for the first device, then for the second."""
    return tuple(tensor.clone() for _ in devices for tensor in tensors)


def _normalized(module: Any, forward: Callable[..., torch.Tensor], given: torch.Tensor) -> torch.Tensor:
    """Return a batch that is normalised by mean and variance of all ranks' batches, in training."""
    if not module.training or not dist.is_initialized():
        return forward(module, given)
    module._check_input_dim(given)
    module._check_non_zero_input_channels(given)
    group = module.process_group or dist.group.WORLD
    across = [0, *range(2, given.dim())]
    each_channel = [1, -1, *(1 for _ in across[1:])]
    values = given if given.dtype == torch.float64 else given.float()
    all_reduce: Any = functional.all_reduce  # untyped in torch
    own_count = values.new_full((1,), given.numel() // given.size(1))
    # The sums differ from rank to rank in the autograd graph alone: its all_reduce sums their derivatives, too.
    *total, count = all_reduce(torch.cat([values.sum(across), own_count]), group=group).split([given.size(1), 1])
    mean = total[0] / count
    deviations = values - mean.view(each_channel)
    variance = all_reduce(deviations.square().sum(across), group=group) / count
    _track(module, mean.detach(), variance.detach(), count.detach())
    result = deviations * (variance + module.eps).rsqrt().view(each_channel)
    if module.affine:
        result = result * module.weight.view(each_channel) + module.bias.view(each_channel)
    return cast(torch.Tensor, result.to(given.dtype))


def _track(module: Any, mean: torch.Tensor, variance: torch.Tensor, count: torch.Tensor) -> None:
    if not module.track_running_stats:
        return
    module.num_batches_tracked.add_(1)
    factor = 1 / module.num_batches_tracked.item() if module.momentum is None else module.momentum
    with torch.no_grad():
        module.running_mean.lerp_(mean.to(module.running_mean.dtype), factor)
        module.running_var.lerp_((variance * count / (count - 1)).to(module.running_var.dtype), factor)
