"""`fake_pg`: process groups of any size in one process."""

import torch
import torch.distributed as dist

from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed.fake_pg import FakeStore


class Fake(TestCase):
    def test_one_rank_of_many(self):
        dist.init_process_group("fake", store=FakeStore(), rank=3, world_size=64)
        self.addCleanup(dist.destroy_process_group)
        self.assertEqual(("fake", 3, 64), (dist.get_backend(), dist.get_rank(), dist.get_world_size()))
        gathered = torch.zeros(128)
        dist.all_gather_into_tensor(gathered, torch.ones(2))  # returns, though there is nobody else
        dist.barrier()
        self.assertEqual(32, dist.get_world_size(dist.new_group(list(range(32)))))

    def test_store_is_a_store(self):
        self.assertIsInstance(FakeStore(), dist.Store)


if __name__ == "__main__":
    run_tests()
