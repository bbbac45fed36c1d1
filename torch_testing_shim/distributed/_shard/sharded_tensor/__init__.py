"""Upstream's `distributed._shard.sharded_tensor`: the base class of tests of sharded tensors, with RPC where wanted."""

from __future__ import annotations

from torch_testing_shim._cases.sharded_tensors import (
    ShardedTensorTestBase as ShardedTensorTestBase,
    with_comms as with_comms,
)
from torch_testing_shim._cases.world import DEFAULT_WORLD_SIZE
from torch_testing_shim._upstream.graft import served

TEST_GPU_NUM = DEFAULT_WORLD_SIZE

__getattr__ = served(__name__)
