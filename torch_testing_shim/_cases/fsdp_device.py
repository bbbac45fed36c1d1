"""The device that FSDP tests run on, and what FSDP has to be told of it.

FSDP looks for an accelerator unless it is told that the CPU is meant (torch 2.13), which torch's test models do not.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import wrap as torchs_wrap

from torch_testing_shim._cases.world import default_ranks
from torch_testing_shim._engine.devices import device_in_use, process_group_backend
from torch_testing_shim._skips.by_ranks import missing_backend, missing_device
from torch_testing_shim._upstream.graft import assigned

__all__ = [
    "FSDP",
    "device_count",
    "device_type",
    "distributed_backend",
    "reason_not_to_run",
    "wrap",
]

_FACE = "torch_testing_shim.common_fsdp"


def device_type() -> str:
    """The type of the device in use, as `torch.device` takes it."""
    return str(assigned(_FACE, "DEVICE_TYPE") or device_in_use().type)


def device_count() -> int:
    """How many ranks a test has that does not say: see `default_ranks`."""
    return int(assigned(_FACE, "DEVICE_COUNT") or default_ranks())


def distributed_backend() -> str:
    """The process-group backend, as `init_process_group` takes it."""
    return str(assigned(_FACE, "DISTRIBUTED_BACKEND") or process_group_backend(device_type()))


def reason_not_to_run(ranks: int) -> str | None:
    """Why so many ranks cannot have their devices and their backend; None where they can.

    Raises:
        ValueError: torch does not know the backend.
    """
    return missing_device(device_type(), ranks) or missing_backend(distributed_backend(), ranks)


def device_arguments(fsdp_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments for FSDP: those given, and where there is no accelerator that the CPU is meant."""
    is_cpu = torch.device(device_type()).type == "cpu"
    return {"device_id": torch.device("cpu"), **fsdp_kwargs} if is_cpu else fsdp_kwargs


class _ForDevice(type(FullyShardedDataParallel)):  # type: ignore[misc]  # its metaclass
    """Makes instances of torch's class, which are what it takes for its own."""

    def __call__(cls, module: nn.Module, *args: Any, **kwargs: Any) -> FullyShardedDataParallel:
        return FullyShardedDataParallel(module, *args, **device_arguments(kwargs))

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, FullyShardedDataParallel)


class FSDP(FullyShardedDataParallel, metaclass=_ForDevice):
    """torch's FSDP as its test models name it, told which device is meant."""


def wrap(module: nn.Module, **wrap_overrides: Any) -> nn.Module:
    """torch's `wrap`, which does what the context around it says, for the device in use."""
    return torchs_wrap(module, **device_arguments(wrap_overrides))
