"""with_temp_dir around a distributed checkpoint, with and without a process group."""

import os
import time

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.tensor import Shard, distribute_tensor
from torch.testing._internal.common_distributed import MultiProcessTestCase
from torch.testing._internal.common_utils import TestCase, run_tests
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch.testing._internal.distributed.checkpoint_utils import with_temp_dir


class CheckpointTest(DTensorTestBase):
    world_size = 2

    @with_comms
    @with_temp_dir
    def test_round_trip(self):
        mesh = self.build_device_mesh()
        full = torch.arange(4.0)
        dcp.save({"weight": distribute_tensor(full, mesh, [Shard(0)])}, checkpoint_id=self.temp_dir)
        loaded = {"weight": distribute_tensor(torch.zeros(4), mesh, [Shard(0)])}
        dcp.load(loaded, checkpoint_id=self.temp_dir)
        self.assertEqual(loaded["weight"].full_tensor(), full)

    @with_comms
    @with_temp_dir
    def test_one_folder_for_all(self):
        folders = [None, None]
        dist.all_gather_object(folders, self.temp_dir)
        self.assertEqual(folders[0], folders[1])
        self.assertTrue(os.path.isdir(self.temp_dir))
        dist.barrier()

    @with_comms
    @with_temp_dir
    def test_folder_stays_for_the_slowest(self):
        if self.rank == 0:
            time.sleep(1)
            self.assertTrue(os.path.isdir(self.temp_dir))

    @with_comms
    @with_temp_dir
    def test_nothing_is_saved(self):
        dcp.load({"weight": torch.zeros(4)}, checkpoint_id=self.temp_dir)


class WithoutGroupTest(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    @with_temp_dir
    def test_folder(self):
        self.assertTrue(os.path.isdir(self.temp_dir))


class OneProcessTest(TestCase):
    @with_temp_dir
    def test_folder(self):
        path = os.path.join(self.temp_dir, "tensor.pt")
        torch.save(torch.ones(1), path)
        self.assertEqual(torch.load(path), torch.ones(1))


if __name__ == "__main__":
    run_tests()
