"""Comparison of two `ShardedTensor`s shard by shard, on every device. Not upstream's; our own.

`torch.allclose` of two ShardedTensors needs an accelerator (torch 2.13), and does not say where they differ. Here each
rank compares the metadata and its own shards; wrap the check in `agreed_between_ranks`.
"""

from __future__ import annotations

import torch
from torch.distributed._shard.sharded_tensor.api import ShardedTensor

__all__ = ["local_shards", "sharded_difference"]


def local_shards(tensor: ShardedTensor) -> list[torch.Tensor]:
    """Return the shards on this rank, in their order."""
    return [shard.tensor for shard in tensor.local_shards()]


def sharded_difference(actual: ShardedTensor, expected: ShardedTensor) -> str | None:
    """Describe in one sentence how this rank's part of `actual` differs from its part of `expected`; None where it does
    not.

    It compares the metadata of all shards (global size, dtype, and each shard's place) and the values of the local
    shards, with the tolerances of `torch.testing.assert_close`, without communication.
    """
    difference = _metadata_difference(actual, expected)
    if difference is not None:
        return difference
    pairs = zip(local_shards(actual), local_shards(expected), strict=True)
    for index, (actual_shard, expected_shard) in enumerate(pairs):
        try:
            torch.testing.assert_close(actual_shard, expected_shard, equal_nan=True)
        except AssertionError as error:
            return f"local shard {index}: {' '.join(str(error).split())}"
    return None


def _metadata_difference(actual: ShardedTensor, expected: ShardedTensor) -> str | None:
    actual_data, expected_data = actual.metadata(), expected.metadata()
    for name in ("size", "tensor_properties"):
        found, wanted = getattr(actual_data, name), getattr(expected_data, name)
        if found != wanted:
            return f"{name} is {found}, expected {wanted}"
    found_places = [_place(shard) for shard in actual_data.shards_metadata]
    wanted_places = [_place(shard) for shard in expected_data.shards_metadata]
    if found_places != wanted_places:
        return f"shards lie at {found_places}, expected {wanted_places}"
    if len(actual.local_shards()) != len(expected.local_shards()):
        return f"{len(actual.local_shards())} local shards, expected {len(expected.local_shards())}"
    return None


def _place(shard: object) -> tuple[list[int], list[int], str]:
    return shard.shard_offsets, shard.shard_sizes, str(shard.placement)  # type: ignore[attr-defined]
