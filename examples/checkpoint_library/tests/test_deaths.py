"""Saves in which a rank dies. The ranks that live on look at what is left."""

import tempfile
from pathlib import Path

import shelf
import torch
import torch.distributed as dist
from shelf import files

from torch_testing_shim.common_utils import instantiate_parametrized_tests, parametrize, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase
from torch_testing_shim.faults import call, collective, delay, inject, kill

#: Where rank 1 is killed, and the step that a restarted job then finds.
POINTS = {
    "before_it_writes": (call(files, "write_part"), 1),
    "when_it_has_written": (call(files, "write_part", after=True), 1),
    "before_it_says_so": (collective(1, "all_gather_object"), 1),
    "when_the_checkpoint_has_its_name": (collective(1, "barrier"), 2),
}


class Deaths(DTensorTestBase):
    world_size = 2

    def setUp(self):
        super().setUp()
        # A rank dies on purpose: neither its exit code nor the connection that others lose fails the test.
        self.skip_return_code_checks = [getattr(self, self._testMethodName).__wrapped__]

    def connect(self):
        """Set up the process group, and a folder for all ranks. `with_comms` would end with a barrier, in which the
        ranks that live on would wait for the dead one."""
        self.init_pg()
        names = [tempfile.mkdtemp()]  # it goes with the test
        dist.broadcast_object_list(names)
        return Path(names[0])

    @parametrize("point", sorted(POINTS))
    def test_a_rank_dies(self, point):
        at, found = POINTS[point]
        folder = self.connect()
        shelf.save({"step": torch.tensor(1)}, folder, 1)
        # The delay lets rank 0 leave the collective before, in which it could else lose its connection.
        with self.assertRaises(RuntimeError), inject(delay(0.2, rank=1, at=at), kill(rank=1, at=at)):
            shelf.save({"step": torch.tensor(2)}, folder, 2)
        self.assertEqual(found, shelf.latest_step(folder))
        self.assertEqual({"step": torch.tensor(found)}, shelf.load(folder, found))


instantiate_parametrized_tests(Deaths)
if __name__ == "__main__":
    run_tests()
