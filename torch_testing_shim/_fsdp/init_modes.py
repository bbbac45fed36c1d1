"""How a test model is wrapped, and when it goes to its device; and the older spellings of both."""

from __future__ import annotations

import functools
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar, cast

import torch.nn as nn

from torch_testing_shim._fsdp.fsdp_device import to_device

__all__ = ["CUDAInitMode", "DEVICEInitMode", "FSDPInitMode", "FsdpArguments", "initialized", "takes_cuda_init_mode"]

#: Arguments for FSDP's constructor.
FsdpArguments = dict[str, Any]
Function = TypeVar("Function", bound=Callable[..., Any])


class FSDPInitMode(Enum):
    """How a model is wrapped: not at all, or recursively, unit by unit (upstream's `FSDPInitMode`, torch 2.13)."""

    NO_FSDP = 1
    RECURSIVE = 2


class DEVICEInitMode(Enum):
    """When a model goes to the device in use: before FSDP wraps it, after that, or never (upstream's
    `DEVICEInitMode`, torch 2.13; torch 2.4 called it `CUDAInitMode`, whose members are other names of the same)."""

    DEVICE_BEFORE = 1
    DEVICE_AFTER = 2
    DEVICE_NEVER = 3
    CUDA_BEFORE = DEVICE_BEFORE
    CUDA_AFTER = DEVICE_AFTER
    CUDA_NEVER = DEVICE_NEVER


CUDAInitMode = DEVICEInitMode


def takes_cuda_init_mode(function: Function) -> Function:
    """Lets a function with an argument `device_init_mode` take it as `cuda_init_mode` too, as torch 2.4 called it."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if "cuda_init_mode" in kwargs:
            kwargs["device_init_mode"] = kwargs.pop("cuda_init_mode")
        return function(*args, **kwargs)

    return cast(Function, wrapper)


def initialized(
    make: Callable[[bool], nn.Module], fsdp_init_mode: FSDPInitMode, device_init_mode: DEVICEInitMode
) -> nn.Module:
    """The model that both modes ask for.

    Args:
        make: builds the model, with FSDP units in it or without.

    Raises:
        ValueError: there is no such FSDP mode.
    """
    if fsdp_init_mode is FSDPInitMode.NO_FSDP:
        return make(False)
    if fsdp_init_mode is not FSDPInitMode.RECURSIVE:
        raise ValueError(f"Unsupported FSDP init mode: {fsdp_init_mode}")
    return to_device(make(True), device_init_mode is DEVICEInitMode.DEVICE_AFTER)
