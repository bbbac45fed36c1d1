"""What the CUDA device can do, asked when a test uses the flag, and without its driver starting in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from torch_testing_shim._engine.driver import DRIVER
from torch_testing_shim._skips.flags import IS_WINDOWS, LAZY_FLAGS, TEST_WITH_ROCM, settings_or_default

__all__ = [
    "PLATFORM_SUPPORTS_CUDNN_ATTENTION",
    "PLATFORM_SUPPORTS_FLASH_ATTENTION",
    "PLATFORM_SUPPORTS_FUSED_ATTENTION",
    "PLATFORM_SUPPORTS_MEM_EFF_ATTENTION",
    "LazyFlag",
    "SM80OrLater",
    "SM89OrLater",
    "SM90OrLater",
]


class LazyFlag:
    """True or false by `ask()`, which is called once, and only when the flag is used as a truth value or compared.

    Unlike a module's lazy attribute it stays unasked through `from module import FLAG`.
    """

    __hash__ = None  # type: ignore[assignment]  # it equals a bool, whose hash it must not need to know

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self._answer: bool | None = None

    def __bool__(self) -> bool:
        if self._answer is None:
            self._answer = bool(self._ask())
        return self._answer

    def __eq__(self, other: object) -> bool:
        return bool(self) == other

    def __repr__(self) -> str:
        return repr(bool(self))


CUDNN_ATTENTION_VERSION = 90000


def _capability_from(*least: int) -> bool:
    """True where the current CUDA device has at least this compute capability."""
    return LAZY_FLAGS["TEST_CUDA"]() and DRIVER.ask(torch.cuda.get_device_capability) >= least


SM80OrLater = LazyFlag(lambda: _capability_from(8, 0))
SM89OrLater = LazyFlag(lambda: _capability_from(8, 9))
SM90OrLater = LazyFlag(lambda: _capability_from(9, 0))


def _has_flash_attention() -> bool:
    if LAZY_FLAGS["TEST_CUDA"]():
        by_device = TEST_WITH_ROCM or (bool(SM80OrLater) and not IS_WINDOWS)
        return by_device and torch.backends.cuda.is_flash_attention_available()
    return LAZY_FLAGS["TEST_XPU"]() or _declares("flash_attention")


def _has_efficient_attention() -> bool:
    if settings_or_default().device_map is not None:
        return False
    return LAZY_FLAGS["TEST_CUDA"]() or LAZY_FLAGS["TEST_XPU"]() or _declares("memory_efficient_attention")


def _declares(capability: str) -> bool:
    """Whether another device's package says that it can do this."""
    from torch_testing_shim._engine.devices import declares  # here, since it imports torch.distributed

    return declares(capability)


def _has_cudnn_attention() -> bool:
    cudnn: Any = torch.backends.cudnn  # untyped in torch
    if not SM80OrLater or TEST_WITH_ROCM:
        return False
    return bool((DRIVER.ask(cudnn.version) or 0) >= CUDNN_ATTENTION_VERSION)


#: Kernels of attention that an accelerator has (upstream's names, torch 2.13), as torch or its package says; false on
#: the CPU.
PLATFORM_SUPPORTS_FLASH_ATTENTION = LazyFlag(_has_flash_attention)
PLATFORM_SUPPORTS_MEM_EFF_ATTENTION = LazyFlag(_has_efficient_attention)
PLATFORM_SUPPORTS_CUDNN_ATTENTION = LazyFlag(_has_cudnn_attention)
PLATFORM_SUPPORTS_FUSED_ATTENTION = LazyFlag(
    lambda: any(
        (PLATFORM_SUPPORTS_FLASH_ATTENTION, PLATFORM_SUPPORTS_MEM_EFF_ATTENTION, PLATFORM_SUPPORTS_CUDNN_ATTENTION)
    )
)
