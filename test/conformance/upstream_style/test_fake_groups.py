"""Process groups without processes: FakeStore, with_fake_comms, DummyProcessGroup."""

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.testing._internal.common_fsdp import DummyProcessGroup
from torch.testing._internal.common_utils import TestCase, run_tests
from torch.testing._internal.distributed.distributed_utils import with_fake_comms
from torch.testing._internal.distributed.fake_pg import FakeStore


class FakeGroupTest(TestCase):
    def setUp(self):
        super().setUp()
        if self._testMethodName.startswith("test_fake"):
            dist.init_process_group("fake", store=FakeStore(), rank=1, world_size=8)

    def tearDown(self):
        super().tearDown()
        if dist.is_initialized():
            dist.destroy_process_group()

    def test_fake_group(self):
        self.assertEqual((dist.get_rank(), dist.get_world_size()), (1, 8))
        dist.barrier()

    def test_fake_mesh(self):
        mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        self.assertEqual(mesh["tp"].size(), 4)
        sharded = distribute_tensor(torch.ones(8, 2), mesh["tp"], [Shard(0)])
        self.assertEqual(sharded.to_local().shape, torch.Size([2, 2]))

    @with_fake_comms(rank=2, world_size=3)
    def test_comms_with_arguments(self):
        self.assertEqual((dist.get_rank(), dist.get_world_size()), (2, 3))

    @with_fake_comms
    def test_comms_bare(self):
        self.assertEqual(dist.get_world_size(), 2)

    @with_fake_comms
    def test_comms_wrong(self):
        self.assertEqual(dist.get_world_size(), 3)

    def test_dummy_group(self):
        group = DummyProcessGroup(rank=1, size=4)
        self.assertEqual((group.rank(), group.size()), (1, 4))


if __name__ == "__main__":
    run_tests()
