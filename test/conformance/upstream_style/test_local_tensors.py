"""create_local_tensor_test_class: the same tests on ranks and on LocalTensor, where one process stands for all."""

import torch
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.testing._internal.common_utils import run_tests
from torch.testing._internal.distributed._tensor.common_dtensor import (
    DTensorContinuousTestBase,
    DTensorTestBase,
    LocalDTensorContinuousTestBase,
    create_local_tensor_test_class,
    map_local_tensor_for_rank,
    with_comms,
)


class ShardingTest(DTensorTestBase):
    @property
    def world_size(self):
        return 2

    @with_comms
    def test_redistribute(self):
        mesh = self.build_device_mesh()
        whole = torch.arange(8.0).reshape(4, 2)
        sharded = distribute_tensor(whole, mesh, [Shard(0)])
        self.assertEqual(sharded.redistribute(mesh, [Replicate()]).to_local(), whole)

    @with_comms
    def test_shards_of_ranks(self):
        mesh = self.build_device_mesh()
        sharded = distribute_tensor(torch.arange(4.0), mesh, [Shard(0)])
        expected = map_local_tensor_for_rank(torch.arange(4.0), self.rank, lambda tensor, rank: tensor.chunk(2)[rank])
        self.assertEqual(sharded.to_local(), expected)

    @with_comms
    def test_product(self):
        mesh = self.build_device_mesh()
        left = distribute_tensor(torch.ones(4, 4), mesh, [Shard(1)])
        right = distribute_tensor(torch.ones(4, 4), mesh, [Shard(0)])
        product = left @ right
        self.assertIsInstance(product, DTensor)
        self.assertTrue(product.placements[0].is_partial())
        self.assertEqual(product.full_tensor(), torch.full((4, 4), 4.0))

    @with_comms
    def test_wrong(self):
        self.assertEqual(distribute_tensor(torch.ones(4), self.build_device_mesh(), [Shard(0)]).shape, (2,))

    @with_comms
    def test_needs_processes(self):
        self.assertIsInstance(self.rank, int)


class KeptRanksTest(DTensorContinuousTestBase):
    world_size = 2

    def test_whole(self):
        sharded = distribute_tensor(torch.arange(4.0), self.build_device_mesh(), [Shard(0)])
        self.assertEqual(sharded.full_tensor(), torch.arange(4.0))

    def test_wrong_sum(self):
        self.assertEqual(distribute_tensor(torch.ones(4), self.build_device_mesh(), [Shard(0)]).sum().full_tensor(), 5)


KeptRanksTestWithLocalTensor = create_local_tensor_test_class(KeptRanksTest, base_class=LocalDTensorContinuousTestBase)
ShardingTestWithLocalTensor = create_local_tensor_test_class(ShardingTest, skipped_tests=["test_needs_processes"])

if __name__ == "__main__":
    run_tests()
