"""Upstream's `common_fsdp`: the base classes of FSDP's tests; its models and helpers are torch's.

`DEVICE_TYPE`, `DEVICE_COUNT` and `DISTRIBUTED_BACKEND` are found when a test names them, and a test file may assign to
them. Unlike upstream's, tests also run on the CPU, with 4 ranks, where there is no accelerator.
"""

from __future__ import annotations

from torch_testing_shim._cases.body import run_subtests as run_subtests
from torch_testing_shim._cases.fsdp import (
    FSDP as FSDP,
    DEVICEInitMode as DEVICEInitMode,
    FSDPTest as FSDPTest,
    FSDPTestContinuous as FSDPTestContinuous,
    FSDPTestMixin as FSDPTestMixin,
    FSDPTestMultiThread as FSDPTestMultiThread,
    device_count,
    device_type,
    distributed_backend,
    get_devtype as get_devtype,
    wrap as wrap,
)
from torch_testing_shim._cases.fsdp_compiled import compiled_fsdp_test as compiled_fsdp_test
from torch_testing_shim._upstream.graft import grafted, served

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

# The spellings of torch 2.4.
CUDAInitMode = DEVICEInitMode
test_compiled_fsdp = compiled_fsdp_test

__getattr__ = served(
    __name__,
    {
        "DEVICE_TYPE": device_type,
        "DEVICE_COUNT": device_count,
        "DISTRIBUTED_BACKEND": distributed_backend,
        "_maybe_cuda": lambda: grafted(__name__, "_move_to_device"),  # torch 2.4's spelling
    },
)
