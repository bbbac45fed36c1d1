"""ShardedTensorTestBase with its with_comms: with gloo, with RPC, and with NCCL where there is none."""

import torch
import torch.distributed as dist
from torch.distributed import rpc
from torch.distributed._shard import sharded_tensor
from torch.distributed._shard.sharding_spec import ChunkShardingSpec
from torch.testing._internal.common_utils import run_tests
from torch.testing._internal.distributed._shard.sharded_tensor import ShardedTensorTestBase, with_comms


class ShardedTest(ShardedTensorTestBase):
    @property
    def world_size(self):
        return 2

    @with_comms(init_rpc=False, backend="gloo")
    def test_chunks(self):
        spec = ChunkShardingSpec(dim=0, placements=["rank:0/cpu", "rank:1/cpu"])
        tensor = sharded_tensor.ones(spec, 4, 2)
        (shard,) = tensor.local_shards()
        self.assertEqual(shard.tensor, torch.ones(2, 2))
        self.assert_sharded_tensor_equal(tensor, sharded_tensor.ones(spec, 4, 2))

    @with_comms(init_rpc=False, backend="gloo")
    def test_unequal(self):
        spec = ChunkShardingSpec(dim=0, placements=["rank:0/cpu", "rank:1/cpu"])
        self.assert_sharded_tensor_equal(sharded_tensor.ones(spec, 4), sharded_tensor.zeros(spec, 4))

    @with_comms
    def test_nccl(self):
        self.fail("must not run without GPUs")

    @with_comms(init_rpc=False)
    def test_nccl_without_rpc(self):
        self.fail("must not run without GPUs")

    @with_comms(init_rpc=False, backend="carrier_pigeon")
    def test_unknown_backend(self):
        self.fail("must not run")


class ByHandTest(ShardedTensorTestBase):
    world_size = 2

    def test_comms_by_hand(self):
        self.init_comms(init_rpc=False, backend="gloo")
        self.assertEqual(dist.get_world_size(), 2)
        self.destroy_comms(destroy_rpc=False)
        self.assertFalse(dist.is_initialized())
        self.assertFalse(rpc.api._is_current_rpc_agent_set())


if __name__ == "__main__":
    run_tests()
