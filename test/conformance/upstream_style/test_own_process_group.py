"""DTensorTestBase with init_pg, destroy_pg and backend of the test's own."""

from datetime import timedelta

import torch
import torch.distributed as dist
from torch.testing._internal.common_utils import run_tests
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


class OwnInitTest(DTensorTestBase):
    world_size = 2

    def init_pg(self, eager_init, backend=None):
        self.asked = (bool(eager_init), backend)
        store = dist.FileStore(self.file_name, self.world_size)
        dist.init_process_group(
            "gloo", store=store, rank=self.rank, world_size=self.world_size, timeout=timedelta(seconds=60)
        )
        self.pair = dist.new_group([0, 1])

    def destroy_pg(self, device_id=None):
        dist.barrier(self.pair)
        super().destroy_pg(device_id)

    @with_comms
    def test_own_group(self):
        self.assertEqual(self.asked, (False, None))
        gathered = [torch.empty(1) for _ in range(2)]
        dist.all_gather(gathered, torch.tensor([float(self.rank)]), group=self.pair)
        self.assertEqual(torch.cat(gathered), torch.tensor([0.0, 1.0]))

    @with_comms(eager_init=True, backend="anything")
    def test_arguments_arrive(self):
        self.assertEqual(self.asked, (True, "anything"))


class BrokenInitTest(DTensorTestBase):
    world_size = 2

    def init_pg(self, eager_init, backend=None):
        raise RuntimeError("no process group today")

    @with_comms
    def test_one(self):
        self.fail("must not run")


class UnknownBackendTest(DTensorTestBase):
    world_size = 2

    @property
    def backend(self):
        return "carrier_pigeon"

    @with_comms
    def test_one(self):
        self.fail("must not run")


if __name__ == "__main__":
    run_tests()
