"""The device that FSDP tests run on, and what FSDP has to be told of it.

FSDP looks for an accelerator unless it is told that the CPU is meant (torch 2.13), so what wraps a test model goes
through `fsdp_unit`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._test_limits import default_ranks
from torch_testing_shim._upstream.graft import assigned

__all__ = ["device_arguments", "device_count", "device_type", "fsdp_unit", "to_device"]

_FACE = f"{__package__.partition('.')[0]}.common_fsdp"


def device_type() -> str:
    """The type of the device in use, as `torch.device` takes it."""
    return str(assigned(_FACE, "DEVICE_TYPE") or device_in_use().type)


def device_count() -> int:
    """How many ranks a test has that does not say: see `default_ranks`."""
    return int(assigned(_FACE, "DEVICE_COUNT") or default_ranks())


def to_device(model: nn.Module, move_to_device: bool) -> nn.Module:
    """The model, moved to the device in use if wanted (upstream's `_move_to_device`, torch 2.13)."""
    return model.to(device_type()) if move_to_device else model


def device_arguments(fsdp_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments for FSDP: those given, and where there is no accelerator that the CPU is meant."""
    return {"device_id": torch.device("cpu"), **fsdp_kwargs} if device_in_use().is_cpu else fsdp_kwargs


def fsdp_unit(module: nn.Module, *args: Any, **fsdp_kwargs: Any) -> FSDP:
    """The module wrapped by FSDP, for the device in use."""
    return FSDP(module, *args, **device_arguments(fsdp_kwargs))
