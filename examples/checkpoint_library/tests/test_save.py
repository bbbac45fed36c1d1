"""Saves that go well, and saves that fail in a rank which lives on."""

import errno
from pathlib import Path

import shelf
import torch
from shelf import files

from torch_testing_shim.common_utils import instantiate_parametrized_tests, parametrize, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch_testing_shim.distributed.checkpoint_utils import with_temp_dir
from torch_testing_shim.faults import call, delay, fail, inject

DISK_FULL = OSError(errno.ENOSPC, "disk full")


class Save(DTensorTestBase):
    world_size = 3

    def state(self, step):
        return {"weight": torch.full((4,), float(step)), "rank": torch.tensor(self.rank)}

    @with_comms
    @with_temp_dir
    def test_what_was_saved_is_loaded(self):
        folder = Path(self.temp_dir)
        for step in (1, 2):
            shelf.save(self.state(step), folder, step)
        self.assertEqual(2, shelf.latest_step(folder))
        self.assertEqual(self.state(1), shelf.load(folder, 1))

    @with_comms
    @with_temp_dir
    @parametrize("rank", [0, 2])
    def test_a_full_disk_fails_the_save_on_every_rank(self, rank):
        folder = Path(self.temp_dir)
        shelf.save(self.state(1), folder, 1)
        with (
            inject(fail(rank=rank, at=call(files, "write_part"), error=DISK_FULL)),
            self.assertRaisesRegex(shelf.CheckpointError, f"^rank {rank}: .*disk full$"),
        ):
            shelf.save(self.state(2), folder, 2)
        self.assertEqual(1, shelf.latest_step(folder))
        self.assertEqual(self.state(1), shelf.load(folder, 1))

    @with_comms
    @with_temp_dir
    def test_the_others_wait_for_a_rank_that_is_late(self):
        folder = Path(self.temp_dir)
        with inject(delay(0.5, rank=1, at=call(files, "write_part"))):
            shelf.save(self.state(1), folder, 1)
        self.assertEqual(self.state(1), shelf.load(folder, 1))


instantiate_parametrized_tests(Save)
if __name__ == "__main__":
    run_tests()
