"""Ranks that are threads of the test process, on the device."""

import torch
import torch.distributed as dist
from here import DEVICE

from torch_testing_shim.common_distributed import MultiThreadedTestCase
from torch_testing_shim.common_utils import run_tests


class Threads(MultiThreadedTestCase):
    world_size = 4

    def setUp(self):
        super().setUp()
        self._spawn_threads()

    def test_collectives(self):
        mine = torch.full((2,), float(self.rank), device=DEVICE)
        parts = [torch.zeros_like(mine) for _ in range(4)]
        dist.all_gather(parts, mine)
        self.assertEqual([part.tolist() for part in parts], [[float(rank)] * 2 for rank in range(4)])
        dist.all_reduce(mine)
        self.assertEqual(mine, torch.full((2,), 6.0, device=DEVICE))

    def test_one_fails(self):
        self.assertNotEqual(torch.full((1,), self.rank, device=DEVICE).item(), 2)


if __name__ == "__main__":
    run_tests()
