"""DTensorContinuousTestBase: tests of DTensor on ranks that are kept for a class."""

import torch
from torch.distributed.tensor import Partial, Replicate, Shard, distribute_tensor
from torch.testing._internal.common_utils import run_tests
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorContinuousTestBase


class DTensorContinuousTest(DTensorContinuousTestBase):
    world_size = 2

    def test_sum_of_shards(self):
        mesh = self.build_device_mesh()
        full = torch.arange(6.0, device=self.device_type).reshape(2, 3)
        total = distribute_tensor(full, mesh, [Shard(0)]).sum()
        self.assertEqual(total.full_tensor(), full.sum())

    def test_subtests(self):
        self.run_subtests({"dim": [0, 1], "scale": [1, 2]}, self._test_scaled)

    def _test_scaled(self, dim, scale):
        mesh = self.build_device_mesh()
        full = torch.ones(2, 4, device=self.device_type)
        sharded = distribute_tensor(full, mesh, [Shard(dim)])
        self.assertEqual((sharded * scale).full_tensor(), full * scale)

    def test_placements(self):
        self.assertNotEqual(Replicate(), Partial())


if __name__ == "__main__":
    run_tests()
