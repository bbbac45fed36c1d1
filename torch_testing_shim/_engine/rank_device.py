"""Binds a rank to its device: the one place that says which accelerator is whose. Every base class asks here.

A file may touch the accelerators that it was leased and no others, so a rank's number is not its device's index.
"""

from __future__ import annotations

import torch

from torch_testing_shim._engine.devices import DeviceError, device_in_use
from torch_testing_shim._shared.settings import read_settings

__all__ = ["bind_rank", "rank_device"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def rank_device(rank: int, device_type: str | None = None) -> torch.device:
    """The device of a rank's tensors: "cpu", or an accelerator with its index.

    Args:
        rank: the rank; where there are fewer accelerators than ranks, they take turns.
        device_type: the type that the test names, with or without an index; by default that of the device in use.

    Raises:
        DeviceError: the test names a device that is not in use here.
    """
    device = device_in_use()
    wanted = device.type if device_type is None else torch.device(device_type).type  # which --map-device may change
    if wanted == "cpu":
        return torch.device("cpu")
    if wanted != device.type:
        raise DeviceError(f"the test runs on {wanted!r}, which is not there: the device in use is {device.type!r}")
    return torch.device(wanted, device.index_of(rank))


def bind_rank(rank: int, device_type: str | None = None) -> torch.device:
    """Makes a rank's accelerator the current one of this process, or of this thread; returns the rank's device.

    The arguments and errors are those of `rank_device`.
    """
    device = rank_device(rank, device_type)
    if device.type != "cpu":
        torch.accelerator.set_device_index(device.index)
    elif (devices := read_settings().device_map) is not None:
        torch.accelerator.set_device_index(rank % devices.count)
    return device
