"""Skips by what the ranks of a test need: accelerators, a world size, a process-group backend.

`common_distributed` passes the decorators on. Each keeps the name, signature and meaning of upstream's decorator
(torch 2.13). Base classes call `missing_backend` and `missing_device`.
"""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from torch_testing_shim._engine.devices import DeviceError, accelerator_in_use, device_in_use, process_group_backend
from torch_testing_shim._shared.settings import read_settings
from torch_testing_shim._skips.conditions import on_cpu_where, skip_where

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Test = TypeVar("Test", bound=Callable[..., Any])

#: A world of fewer ranks is small (upstream's number, torch 2.13).
_SMALL_WORLD = 8


def at_least_x_gpu(x: int) -> bool:
    """Return whether at least `x` accelerators are found (upstream's `at_least_x_gpu`, torch 2.13). With the CPU chosen
    by hand, or devices that ranks may share, ranks count instead, so there are always enough. With devices mapped, the
    simulated ones count."""
    device = device_in_use()
    if (devices := read_settings().device_map) is not None:
        return devices.count >= x
    return device.count >= x or device.may_be_shared or (device.is_cpu and device.chosen)


def skip_if_lt_x_gpu(x: int, *, allow_cpu: bool = False) -> Callable[[Test], Test]:
    """Skip a test where fewer than `x` accelerators are found (upstream's `skip_if_lt_x_gpu`, torch 2.13).

    Args:
        x: how many the test needs.
        allow_cpu: the test is never skipped: where there are too few, it runs on the CPU, all ranks of it.

    With the CPU chosen by hand (TORCH_TESTING_SHIM_DEVICE=cpu), or where ranks may share devices
    (TORCH_TESTING_SHIM_SHARE_DEVICES), the test runs: ranks count instead.
    """
    if allow_cpu:
        return on_cpu_where(lambda: not device_in_use().is_cpu and not at_least_x_gpu(x))
    return skip_where(lambda _: _missing_accelerators(x))


def skip_if_no_gpu(func: Test) -> Test:
    """Skip a test where each rank cannot have an accelerator of its own (upstream's name, torch 2.13). With the CPU
    chosen by hand, its ranks count instead."""
    return skip_where(lambda test_case: _missing_accelerators(max(1, _world_size(test_case))))(func)


def require_n_gpus_for_nccl_backend(n: int, backend: str) -> Callable[[Test], Test]:
    """Skip a test of the backend "nccl" where fewer than `n` accelerators are found; a test of another backend runs
    (upstream's name, torch 2.13)."""
    return skip_where(lambda _: _missing_accelerators(n) if backend == "nccl" else None)


def nccl_skip_if_lt_x_gpu(backend: str, x: int) -> Callable[[Test], Test]:
    """`require_n_gpus_for_nccl_backend(x, backend)` by its other name (torch 2.13)."""
    return require_n_gpus_for_nccl_backend(x, backend)


def _missing_accelerators(wanted: int) -> str | None:
    """Return why a test that needs so many accelerators cannot run; None where it can."""
    if at_least_x_gpu(wanted):
        return None
    devices = read_settings().device_map
    found = device_in_use().count if devices is None else devices.count
    return f"needs at least {wanted} accelerators, found {found}"


def skip_if_small_worldsize(func: Test) -> Test:
    """Skip a test that runs on fewer than 8 ranks, unless BACKEND is mpi (upstream's name, torch 2.13)."""
    return _skip_by_world(lambda size: size < _SMALL_WORLD, "the world size is too small")(func)


def skip_if_odd_worldsize(func: Test) -> Test:
    """Skip a test that runs on an odd number of ranks, unless BACKEND is mpi (upstream's name, torch 2.13)."""
    return _skip_by_world(lambda size: size % 2 == 1, "the world size is odd")(func)


def _skip_by_world(is_unfit: Callable[[int], bool], reason: str) -> Callable[[Test], Test]:
    def condition(test_case: unittest.TestCase) -> str | None:
        size = _world_size(test_case)
        return f"{reason}: {size}" if read_settings().backend != "mpi" and is_unfit(size) else None

    return skip_where(condition)


def _world_size(test_case: unittest.TestCase) -> int:
    """Return WORLD_SIZE, or the test case's own number."""
    return read_settings().world_size or int(getattr(test_case, "world_size", 1))


def requires_world_size(n: int) -> Callable[[Test], Test]:
    """Declare that a test wants `n` ranks, for `get_required_world_size`, and skip it where fewer accelerators are
    found (upstream's `requires_world_size`, torch 2.13). With the CPU chosen by hand, its ranks count instead."""

    def decorate(test: Test) -> Test:
        decorated = skip_where(lambda _: _missing_accelerators(n))(test)
        decorated._required_world_size = n  # type: ignore[attr-defined]
        return decorated

    return decorate


def get_required_world_size(obj: Any, default: int) -> int:
    """Return the number of ranks that the running test of a test case wants by `requires_world_size`, else `default`
    (upstream's name, torch 2.13)."""
    method = getattr(type(obj), getattr(obj, "_testMethodName", ""), None)
    return int(getattr(method, "_required_world_size", default))


def requires_ddp_rank(device: str) -> bool:
    """Return whether DDP takes a device of this type by its index, as it does accelerators (upstream's name, torch
    2.13)."""
    return torch.device(device).type != "cpu"


def requires_gloo() -> Callable[[Test], Test]:
    """Skip where torch was built without Gloo (upstream's `requires_gloo`, torch 2.13)."""
    return unittest.skipUnless(dist.is_gloo_available(), "torch was built without Gloo")


def requires_nccl() -> Callable[[Test], Test]:
    """Skip where torch was built without NCCL, or finds no accelerator to use it with (upstream's `requires_nccl`,
    torch 2.13, checks the build alone)."""
    is_built = unittest.skipUnless(dist.is_nccl_available(), "torch was built without NCCL")
    return lambda test: is_built(skip_if_lt_x_gpu(1)(test))


def requires_ucc() -> Callable[[Test], Test]:
    """Skip where torch was built without UCC (upstream's `requires_ucc`, torch 2.13)."""
    return unittest.skipUnless(dist.is_ucc_available(), "torch was built without UCC")


def requires_mpi() -> Callable[[Test], Test]:
    """Skip where torch was built without MPI (upstream's `requires_mpi`, torch 2.13)."""
    return unittest.skipUnless(dist.is_mpi_available(), "torch was built without MPI")


def requires_accelerator_dist_backend(backends: Sequence[str] | None = None) -> Callable[[Test], Test]:
    """Skip where no process-group backend for an accelerator is available (upstream's name, torch 2.13).

    Args:
        backends: names of the backends that suffice; by default the backend of the accelerator in use.
    """

    def condition(_: unittest.TestCase) -> str | None:
        if backends is not None:
            served = [_devices_of(name) for name in backends if dist.is_backend_available(name)]
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

    return skip_where(condition)


def missing_backend(backend: str | None, ranks: int) -> str | None:
    """Return why the ranks of a test cannot have a process-group backend here; None where they can.

    Args:
        backend: as `init_process_group` takes it: "nccl", "cpu:gloo,cuda:nccl", or None for what torch chooses.
        ranks: how many there are.

    Raises:
        ValueError: torch does not know it.
    """
    reasons = [_missing(name, ranks) for name in _names(backend)]  # all: a mistake counts before a skip
    return next((reason for reason in reasons if reason is not None), None)


def missing_device(device_type: str, ranks: int) -> str | None:
    """Return why the ranks of a test cannot have a device of this type each, or share it; None where they can."""
    device, wanted = device_in_use(), torch.device(device_type).type  # which --map-device may change
    if wanted not in ("cpu", device.type):
        return f"needs at least {ranks} {wanted}, found 0"
    return None if wanted == "cpu" else device.shortage(ranks)


def skip_without_backend(backend: str | None, ranks: int) -> None:
    """Skip the running test where `missing_backend` has a reason.

    Raises:
        unittest.SkipTest: there is a reason.
        ValueError: torch does not know the backend.
    """
    if (reason := missing_backend(backend, ranks)) is not None:
        raise unittest.SkipTest(reason)


def _names(backend: str | None) -> Iterator[str]:
    for part in (backend or "").lower().split(","):
        if name := part.rpartition(":")[2].strip():
            yield name


def _missing(name: str, ranks: int) -> str | None:
    known = [each for each in dist.Backend.backend_list if each != dist.Backend.UNDEFINED]
    if name not in known:
        raise ValueError(f"torch does not know the process-group backend {name!r}; it knows {', '.join(known)}")
    device, served = device_in_use(), _devices_of(name)
    if "cpu" not in served:
        if device.type not in served:
            return f"needs at least {ranks} accelerators, found 0"
        if (shortage := device.shortage(ranks)) is not None:
            return shortage
    return None if dist.is_backend_available(name) else f"the backend {name} is not available"


def _devices_of(name: str) -> set[str]:
    """Return the device types that a backend serves in this run."""
    served: set[str] = set(dist.Backend.backend_capability.get(name, ["cpu"]))
    if (devices := read_settings().device_map) is not None and devices.source in served:
        served.add(devices.target)
    return served
