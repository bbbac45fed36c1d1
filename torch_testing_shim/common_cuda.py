"""Upstream's `common_cuda`: CUDA devices and their abilities. Importing it starts no driver."""

from __future__ import annotations

from torch_testing_shim._skips.capabilities import (
    PLATFORM_SUPPORTS_CUDNN_ATTENTION as PLATFORM_SUPPORTS_CUDNN_ATTENTION,
    PLATFORM_SUPPORTS_FLASH_ATTENTION as PLATFORM_SUPPORTS_FLASH_ATTENTION,
    PLATFORM_SUPPORTS_FUSED_ATTENTION as PLATFORM_SUPPORTS_FUSED_ATTENTION,
    PLATFORM_SUPPORTS_MEM_EFF_ATTENTION as PLATFORM_SUPPORTS_MEM_EFF_ATTENTION,
    SM80OrLater as SM80OrLater,
    SM89OrLater as SM89OrLater,
    SM90OrLater as SM90OrLater,
)
from torch_testing_shim._skips.flags import LAZY_FLAGS
from torch_testing_shim._upstream.graft import served

__getattr__ = served(
    __name__,
    {
        "TEST_CUDA": LAZY_FLAGS["TEST_CUDA"],
        "TEST_MULTIGPU": lambda: LAZY_FLAGS["TEST_CUDA"]() and LAZY_FLAGS["TEST_MULTIACCELERATOR"](),
    },
)
