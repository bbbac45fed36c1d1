"""Two classes with different world sizes in one file: one as an attribute, one as a property; one computed."""

import torch
import torch.distributed as dist
from torch.testing._internal.common_distributed import MultiProcessTestCase, requires_world_size
from torch.testing._internal.common_utils import run_tests


class _GlooCase(MultiProcessTestCase):
    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def _count(self):
        store = dist.FileStore(self.file_name, self.world_size)
        dist.init_process_group("gloo", store=store, rank=self.rank, world_size=self.world_size)
        ones = torch.ones(1)
        dist.all_reduce(ones)
        return int(ones.item())


class TwoRanksTest(_GlooCase):
    world_size = 2

    def test_count(self):
        self.assertEqual(self._count(), 2)


class ThreeRanksTest(_GlooCase):
    @property
    def world_size(self):
        return 3

    def test_count(self):
        self.assertEqual(self._count(), 3)


class ComputedTest(_GlooCase):
    @property
    def world_size(self):
        return 1 if self._current_test_name().endswith("alone") else 2

    def test_alone(self):
        self.assertEqual(self._count(), 1)

    def test_together(self):
        self.assertEqual(self._count(), 2)


class TooManyTest(_GlooCase):
    world_size = 2

    @requires_world_size(2)
    def test_enough(self):
        self.assertEqual(self.world_size, 2)


if __name__ == "__main__":
    run_tests()
