"""Upstream's `distributed._tensor.common_dtensor`: the base classes of DTensor, FSDP and checkpoint tests."""

from __future__ import annotations

from torch_testing_shim._cases.dtensor import (
    DTensorContinuousTestBase as DTensorContinuousTestBase,
    DTensorOpTestBase as DTensorOpTestBase,
    DTensorTestBase as DTensorTestBase,
    DTensorTestMixin as DTensorTestMixin,
    device_type,
    skip_unless_torch_gpu as skip_unless_torch_gpu,
    with_comms as with_comms,
)
from torch_testing_shim._cases.multi_process import MultiProcessTestCase as MultiProcessTestCase
from torch_testing_shim._cases.world import default_ranks
from torch_testing_shim._engine.devices import process_group_backend
from torch_testing_shim._skips.by_ranks import skip_if_lt_x_gpu as skip_if_lt_x_gpu
from torch_testing_shim._upstream.graft import served

__getattr__ = served(
    __name__,
    {  # asked, since counting accelerators at import may start their driver
        "NUM_DEVICES": lambda: DTensorTestBase().world_size,
        "DEVICE_TYPE": device_type,
        "DEVICE_COUNT": default_ranks,
        "PG_BACKEND": lambda: process_group_backend(device_type()),
    },
)
