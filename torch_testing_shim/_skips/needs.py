"""Whether a test's ranks can have a process-group backend: torch has to know it and be built with it, and one that
serves accelerators alone needs enough of them."""

from __future__ import annotations

import unittest
from collections.abc import Iterator

import torch
import torch.distributed as dist

from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._shared.settings import read_settings

__all__ = ["devices_of", "missing_backend", "missing_device", "skip_without_backend"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def missing_backend(backend: str | None, ranks: int) -> str | None:
    """Why the ranks of a test cannot have a process-group backend here; None where they can.

    Args:
        backend: as `init_process_group` takes it: "nccl", "cpu:gloo,cuda:nccl", or None for what torch chooses.
        ranks: how many there are.

    Raises:
        ValueError: torch does not know it.
    """
    reasons = [_missing(name, ranks) for name in _names(backend)]  # all: a mistake counts before a skip
    return next((reason for reason in reasons if reason is not None), None)


def missing_device(device_type: str, ranks: int) -> str | None:
    """Why the ranks of a test cannot have a device of this type each, or share it; None where they can."""
    device, wanted = device_in_use(), torch.device(device_type).type  # which --map-device may change
    if wanted not in ("cpu", device.type):
        return f"needs at least {ranks} {wanted}, found 0"
    return None if wanted == "cpu" else device.shortage(ranks)


def skip_without_backend(backend: str | None, ranks: int) -> None:
    """Skips the test that runs where `missing_backend` has a reason.

    Raises:
        unittest.SkipTest: it has.
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
    device, served = device_in_use(), devices_of(name)
    if "cpu" not in served:
        if device.type not in served:
            return f"needs at least {ranks} accelerators, found 0"
        if (shortage := device.shortage(ranks)) is not None:
            return shortage
    return None if dist.is_backend_available(name) else f"the backend {name} is not available"


def devices_of(name: str) -> set[str]:
    """The device types that a backend serves in this run."""
    served: set[str] = set(dist.Backend.backend_capability.get(name, ["cpu"]))
    if (devices := read_settings().device_map) is not None and devices.source in served:
        served.add(devices.target)
    return served
