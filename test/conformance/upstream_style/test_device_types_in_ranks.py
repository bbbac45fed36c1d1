"""instantiate_device_type_tests over DistributedTestBase: process groups for the device that a test is made for."""

import torch
import torch.distributed as dist
from torch.testing._internal.common_device_type import instantiate_device_type_tests
from torch.testing._internal.common_distributed import DistributedTestBase, MultiProcContinuousTest
from torch.testing._internal.common_utils import parametrize, run_tests


class TestGroups(DistributedTestBase):
    @property
    def world_size(self):
        return 2

    def test_all_reduce(self, device):
        self.create_pg(device, world_size=2)
        self.assertEqual(dist.get_backend(), "gloo")
        ones = torch.ones(1, device=device)
        dist.all_reduce(ones)
        self.assertEqual(ones.item(), 2)

    @parametrize("root", [0, 1])
    def test_broadcast(self, device, root):
        self.create_pg(device, world_size=2)
        tensor = torch.full((1,), float(self.rank), device=device)
        dist.broadcast(tensor, root)
        self.assertEqual(tensor.item(), root)

    def test_backend_of_devices(self, device):
        self.assertEqual(self.backend(device), "gloo")
        self.assertEqual(self.backend("cuda"), "nccl")

    def test_rank_to_device(self, device):
        self.assertEqual(self.rank_to_device(device), {0: [0], 1: [0]})

    def test_fails(self, device):
        self.assertEqual(self.rank, 0)


class TestKeptRanks(MultiProcContinuousTest):
    world_size = 2

    @classmethod
    def backend_str(cls):
        return "gloo"

    def test_kept(self, device):
        ones = torch.ones(1, device=device)
        dist.all_reduce(ones)
        self.assertEqual(ones.item(), 2)


devices = ("cpu",)
instantiate_device_type_tests(TestGroups, globals(), only_for=devices)
instantiate_device_type_tests(TestKeptRanks, globals(), only_for=devices)

if __name__ == "__main__":
    run_tests()
