"""Waiting on the device in use, to bring out another wait that is missing."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch

from torch_testing_shim._device_sleep import get_cycles_per_ms
from torch_testing_shim._fsdp.fsdp_device import device_type

__all__ = ["delay", "delayed"]


def delay(milliseconds: float) -> None:
    """Keeps the device's stream busy where its module can do that, and else this process waiting."""
    device = device_type()
    module = torch.get_device_module(device) if device != "cpu" else None
    if module is not None and hasattr(module, "_sleep"):
        module._sleep(int(milliseconds * get_cycles_per_ms(device)))
    else:
        time.sleep(milliseconds / 1000)


def delayed(function: Callable[..., Any], milliseconds: float) -> Callable[..., Any]:
    """`function`, called after a delay."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if milliseconds > 0:
            delay(milliseconds)
        return function(*args, **kwargs)

    return wrapper
