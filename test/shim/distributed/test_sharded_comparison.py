"""Shards of two `ShardedTensor`s compared on the rank that has them."""

import tempfile

import torch
import torch.distributed as dist
from torch.distributed._shard import sharded_tensor
from torch.distributed._shard.sharding_spec import ChunkShardingSpec

from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed.sharded_comparison import local_shards, sharded_difference


class ShardedComparison(TestCase):
    """In a process group of one rank: what is compared is local, so one rank shows all of it."""

    def setUp(self):
        super().setUp()
        with tempfile.NamedTemporaryFile(delete=False) as rendezvous:
            dist.init_process_group("gloo", init_method=f"file://{rendezvous.name}", rank=0, world_size=1)
        self.addCleanup(dist.destroy_process_group)

    def sharded(self, *size, dtype=torch.float32, dim=0, value=1.0):
        spec = ChunkShardingSpec(dim=dim, placements=["rank:0/cpu"])
        return sharded_tensor.full(spec, size, value, dtype=dtype)

    def test_equal(self):
        self.assertIsNone(sharded_difference(self.sharded(4, 2), self.sharded(4, 2)))
        nan = float("nan")
        self.assertIsNone(sharded_difference(self.sharded(4, value=nan), self.sharded(4, value=nan)))

    def test_one_value(self):
        other = self.sharded(4, 2)
        local_shards(other)[0][3, 1] += 1
        self.assertExpectedInline(
            sharded_difference(other, self.sharded(4, 2)),
            """local shard 0: Tensor-likes are not close! Mismatched elements: 1 / 8 (12.5%) Greatest absolute difference: 1.0 at index (3, 1) (up to 1e-05 allowed) Greatest relative difference: 1.0 at index (3, 1) (up to 1.3e-06 allowed)""",  # noqa: E501
        )

    def test_within_the_dtypes_tolerance(self):
        other = self.sharded(4, value=1.0 + 1e-7)
        self.assertIsNone(sharded_difference(other, self.sharded(4)))

    def test_size_dtype_and_place(self):
        one = self.sharded(4, 2)
        self.assertRegex(sharded_difference(self.sharded(4, 3), one), r"^size is .*\[4, 3\].*expected .*\[4, 2\]")
        double = self.sharded(4, 2, dtype=torch.float64)
        self.assertRegex(sharded_difference(double, one), "^tensor_properties is .*float64")
        moved = self.sharded(4, 2)
        moved.metadata().shards_metadata[0].shard_offsets = [1, 0]
        self.assertRegex(sharded_difference(moved, one), r"^shards lie at \[\(\[1, 0\]")


if __name__ == "__main__":
    run_tests()
