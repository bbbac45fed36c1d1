"""spawn_threads_and_init_comms on methods of a plain TestCase, bare and with arguments."""

import torch
import torch.distributed as dist
from torch.testing._internal.common_distributed import spawn_threads_and_init_comms
from torch.testing._internal.common_utils import TestCase, run_tests


class ThreadDecoratorTest(TestCase):
    @spawn_threads_and_init_comms
    def test_default_world(self):
        self.assertEqual(dist.get_world_size(), 4)

    @spawn_threads_and_init_comms(world_size=2)
    def test_two(self):
        ones = torch.ones(1)
        dist.all_reduce(ones)
        self.assertEqual(ones.item(), 2)

    @spawn_threads_and_init_comms(world_size=3)
    def test_objects(self):
        gathered = [None] * 3
        dist.all_gather_object(gathered, {"rank": dist.get_rank()})
        self.assertEqual([part["rank"] for part in gathered], [0, 1, 2])

    @spawn_threads_and_init_comms(world_size=2)
    def test_fails_on_one(self):
        self.assertEqual(dist.get_rank(), 0)

    def test_without(self):
        self.assertFalse(dist.is_initialized())


if __name__ == "__main__":
    run_tests()
