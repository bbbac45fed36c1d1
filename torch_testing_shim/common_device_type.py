"""Upstream's `common_device_type`: generic tests that are made for each device of the machine.

`ops` makes tests of PyTorch's own database of operators, which is not here: using it raises an error that says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum
from typing import Any

import torch

from torch_testing_shim._absent_names import AbsentName
from torch_testing_shim._device_marks import (
    deviceCountAtLeast,
    dtypes,
    dtypesIfCPU,
    dtypesIfCUDA,
    onlyAccelerator,
    onlyCPU,
    onlyCUDA,
    onlyNativeDeviceTypes,
    onlyOn,
    skipCPUIf,
    skipCUDAIf,
    skipIf,
    skipMeta,
    skipMetaIf,
)
from torch_testing_shim._device_type_tests import DeviceTypeTestBase, instantiate_device_type_tests
from torch_testing_shim._upstream.graft import served

__all__ = [
    "DeviceTypeTestBase",
    "OpDTypes",
    "deviceCountAtLeast",
    "dtypes",
    "dtypesIfCPU",
    "dtypesIfCUDA",
    "instantiate_device_type_tests",
    "onlyAccelerator",
    "onlyCPU",
    "onlyCUDA",
    "onlyNativeDeviceTypes",
    "onlyOn",
    "ops",
    "skipCPUIf",
    "skipCUDAIf",
    "skipIf",
    "skipMeta",
    "skipMetaIf",
]

__getattr__ = served(__name__)


class OpDTypes(Enum):
    """Which dtypes of an operator `ops` is to test (upstream's `OpDTypes`, torch 2.13)."""

    supported, unsupported, supported_backward, unsupported_backward, any_one, none, any_common_cpu_cuda_one = range(7)


class ops:
    """Upstream's `ops` (torch 2.13) makes a test for each operator of a list of PyTorch's descriptions.

    Raises:
        AbsentNameError: always.
    """

    def __init__(
        self,
        op_list: Iterable[Any],
        *,
        dtypes: OpDTypes | Collection[torch.dtype] = OpDTypes.supported,
        allowed_dtypes: Collection[torch.dtype] | None = None,
        skip_if_dynamo: bool = True,
    ) -> None:
        AbsentName(f"{__name__}.ops", "makes tests of PyTorch's own descriptions of operators").absent()
