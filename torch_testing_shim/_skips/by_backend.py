"""Decorators that skip a test where a device or a process-group backend is missing; `common_distributed` has them."""

from __future__ import annotations

import sys
import unittest
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch.distributed as dist

from torch_testing_shim._engine.devices import DeviceError, accelerator_in_use, device_in_use, process_group_backend
from torch_testing_shim._shared.settings import read_settings
from torch_testing_shim._skips.conditions import on_cpu_where, skip_where
from torch_testing_shim._skips.needs import devices_of

__all__ = [
    "at_least_x_gpu",
    "requires_accelerator_dist_backend",
    "requires_gloo",
    "requires_mpi",
    "requires_nccl",
    "requires_ucc",
    "skip_if_lt_x_gpu",
    "skip_if_win32",
]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Test = TypeVar("Test")


def at_least_x_gpu(x: int) -> bool:
    """True where at least `x` accelerators are found (upstream's `at_least_x_gpu`, torch 2.13). With the CPU chosen by
    hand, or devices that ranks may share, ranks count instead, and there are always enough; with devices mapped, the
    simulated ones count."""
    device = device_in_use()
    if (devices := read_settings().device_map) is not None:
        return devices.count >= x
    return device.count >= x or device.may_be_shared or (device.is_cpu and device.chosen)


def skip_if_lt_x_gpu(x: int, *, allow_cpu: bool = False) -> Callable[[Test], Test]:
    """Skips a test where fewer than `x` accelerators are found (upstream's `skip_if_lt_x_gpu`, torch 2.13).

    Args:
        x: how many the test needs.
        allow_cpu: the test is never skipped: where there are too few, it runs on the CPU, all ranks of it.

    With the CPU chosen by hand (TORCH_TESTING_SHIM_DEVICE=cpu), or where ranks may share devices
    (TORCH_TESTING_SHIM_SHARE_DEVICES), the test runs: ranks count instead.
    """

    def condition(_: unittest.TestCase) -> str | None:
        if at_least_x_gpu(x):
            return None
        devices = read_settings().device_map
        return f"needs at least {x} accelerators, found {device_in_use().count if devices is None else devices.count}"

    if allow_cpu:
        return on_cpu_where(lambda: not device_in_use().is_cpu and not at_least_x_gpu(x))  # type: ignore[return-value]
    return skip_where(condition)  # type: ignore[return-value]


def requires_gloo() -> Callable[[Test], Test]:
    """Skips where torch was built without Gloo (upstream's `requires_gloo`, torch 2.13)."""
    return _skip_unless(dist.is_gloo_available(), "torch was built without Gloo")


def requires_nccl() -> Callable[[Test], Test]:
    """Skips where torch was built without NCCL, or finds no accelerator to use it with (upstream's `requires_nccl`,
    torch 2.13, asks for the build alone)."""
    is_built = _skip_unless(dist.is_nccl_available(), "torch was built without NCCL")
    return lambda test: is_built(skip_if_lt_x_gpu(1)(test))


def requires_ucc() -> Callable[[Test], Test]:
    """Skips where torch was built without UCC (upstream's `requires_ucc`, torch 2.13)."""
    return _skip_unless(dist.is_ucc_available(), "torch was built without UCC")


def requires_mpi() -> Callable[[Test], Test]:
    """Skips where torch was built without MPI (upstream's `requires_mpi`, torch 2.13)."""
    return _skip_unless(dist.is_mpi_available(), "torch was built without MPI")


def requires_accelerator_dist_backend(backends: Sequence[str] | None = None) -> Callable[[Test], Test]:
    """Skips where no process-group backend for an accelerator is there (upstream's name, torch 2.13).

    Args:
        backends: names of the backends that would do; by default the one of the accelerator in use, whatever it is.
    """

    def condition(_: unittest.TestCase) -> str | None:
        if backends is not None:
            served = [devices_of(name) for name in backends if dist.is_backend_available(name)]
            if any("cpu" in devices for devices in served) or (served and at_least_x_gpu(1)):
                return None
            return f"needs {'an accelerator for ' if served else ''}one of the backends {', '.join(backends)}"
        if (device_type := accelerator_in_use()) is None:
            return "needs an accelerator with a process-group backend"
        try:
            found = dist.is_backend_available(process_group_backend(device_type))
        except DeviceError as error:
            return str(error)
        return None if found else f"the process-group backend of {device_type} is not available"

    return skip_where(condition)  # type: ignore[return-value]


def skip_if_win32() -> Callable[[Test], Test]:
    """Skips on Windows (upstream's `skip_if_win32`, torch 2.13)."""
    return _skip_unless(sys.platform != "win32", "does not run on Windows")


def _skip_unless(condition: bool, reason: str) -> Callable[[Test], Test]:
    return unittest.skipUnless(condition, reason)  # type: ignore[return-value]
