"""Where the shards of a test's sharded tensors lie: one on each rank's device, as sharding specs write it."""

from __future__ import annotations

from torch_testing_shim._engine.devices import device_in_use

__all__ = ["GPU_NUM", "rank_placements"]

#: Ranks of the tests of sharded tensors.
GPU_NUM = 4


def rank_placements(ranks: int = GPU_NUM) -> list[str]:
    """ "rank:0/cuda:0", "rank:1/cuda:1" and so on, for the device in use; "rank:0/cpu" and so on for the CPU."""
    device = device_in_use()
    return [f"rank:{rank}/cpu" if device.is_cpu else f"rank:{rank}/{device.type}:{rank}" for rank in range(ranks)]
