"""Where the shards of a test's sharded tensors lie: one on each rank's device, as sharding specs write it."""

from __future__ import annotations

from torch_testing_shim._cases.world import DEFAULT_WORLD_SIZE
from torch_testing_shim._engine.devices import rank_device

__all__ = ["rank_placements"]


def rank_placements(ranks: int = DEFAULT_WORLD_SIZE) -> list[str]:
    """ "rank:0/cuda:0", "rank:1/cuda:1" and so on, for the device in use; "rank:0/cpu" and so on for the CPU."""
    return [f"rank:{rank}/{rank_device(rank)}" for rank in range(ranks)]
