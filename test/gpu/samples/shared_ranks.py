"""Four ranks, which share what devices there are (TORCH_TESTING_SHIM_SHARE_DEVICES=1)."""

import torch
import torch.distributed as dist
from here import DEVICE
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from torch_testing_shim.common_distributed import skip_if_lt_x_gpu
from torch_testing_shim.common_utils import run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


class Shared(DTensorTestBase):
    world_size = 4

    def ones(self, *size):
        self.assertEqual(self.device_type, DEVICE)
        return torch.ones(*size, device=DEVICE)

    @skip_if_lt_x_gpu(4)
    @with_comms
    def test_collectives(self):
        mine = self.ones(4) * (self.rank + 1)
        dist.all_reduce(mine)
        self.assertEqual(mine.tolist(), [10.0] * 4)
        dist.broadcast(mine, 0)
        dist.reduce(mine, 0)
        dist.all_gather([self.ones(4) for _ in range(4)], mine)
        dist.all_gather_into_tensor(self.ones(16), mine)
        dist.reduce_scatter_tensor(self.ones(1), mine)
        dist.all_to_all_single(self.ones(4), mine)
        dist.gather(mine, [self.ones(4) for _ in range(4)] if self.rank == 0 else None)
        dist.scatter(mine, [self.ones(4) for _ in range(4)] if self.rank == 0 else None)
        dist.all_reduce(mine.bfloat16())
        dist.all_gather_object([None] * 4, self.rank)

    @with_comms
    def test_ddp(self):
        model = DistributedDataParallel(nn.Linear(8, 8).to(DEVICE))
        model(self.ones(8, 8)).sum().backward()

    @with_comms
    def test_fsdp(self):
        model = fully_shard(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).to(DEVICE), mesh=self.build_device_mesh())
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        model(self.ones(8, 8)).sum().backward()
        optimizer.step()

    @with_comms
    def test_send_and_recv(self):
        """What gloo cannot do with tensors of a device is done another way, or said; a rank does not die of it."""
        ones = self.ones(2)
        if self.rank == 0:
            dist.send(ones, 1)
        elif self.rank == 1:
            dist.recv(ones, 0)


if __name__ == "__main__":
    run_tests()
