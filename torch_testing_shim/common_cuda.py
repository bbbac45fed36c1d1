"""Upstream's `common_cuda`: what CUDA devices are there and can do. Importing it starts no driver."""

from __future__ import annotations

from torch_testing_shim._skips.cuda_flags import (
    PLATFORM_SUPPORTS_CUDNN_ATTENTION,
    PLATFORM_SUPPORTS_FLASH_ATTENTION,
    PLATFORM_SUPPORTS_FUSED_ATTENTION,
    PLATFORM_SUPPORTS_MEM_EFF_ATTENTION,
    SM80OrLater,
    SM89OrLater,
    SM90OrLater,
)
from torch_testing_shim._skips.flags import LAZY_FLAGS
from torch_testing_shim._upstream.graft import served

# What is ours, besides the names that are answered when asked; a graft takes no other definition of them.
__all__ = [
    "PLATFORM_SUPPORTS_CUDNN_ATTENTION",
    "PLATFORM_SUPPORTS_FLASH_ATTENTION",
    "PLATFORM_SUPPORTS_FUSED_ATTENTION",
    "PLATFORM_SUPPORTS_MEM_EFF_ATTENTION",
    "SM80OrLater",
    "SM89OrLater",
    "SM90OrLater",
]

__getattr__ = served(
    __name__,
    {
        "TEST_CUDA": LAZY_FLAGS["TEST_CUDA"],
        "TEST_MULTIGPU": lambda: LAZY_FLAGS["TEST_CUDA"]() and LAZY_FLAGS["TEST_MULTIACCELERATOR"](),
    },
)
