"""The record of the device for torch_testing_shim (entry point group "torch_testing_shim.backends")."""

from __future__ import annotations

import torch

from torch_quartz.device import NAME
from torch_testing_shim.backends import Backend, rank_device


def _take_device(rank: int, world_size: int) -> None:
    """Make a rank's device its current one: torch's Python device guard leaves this to the package."""
    torch.get_device_module(NAME).set_device(rank_device(rank))
    print(f"{NAME} {rank_device(rank).index} is taken by rank {rank} of {world_size}")


def _leave_device(rank: int, world_size: int) -> None:
    print(f"{NAME} {rank_device(rank).index} is left by rank {rank} of {world_size}")


backend = Backend(
    NAME,
    capabilities=frozenset({"crystal_clock", "dtype.bf16"}),
    before_rank=_take_device,
    after_rank=_leave_device,
)
