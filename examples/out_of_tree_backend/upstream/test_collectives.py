"""A file as PyTorch's repository has them: it names no device and knows nothing of torch_testing_shim."""

import torch
import torch.distributed as dist
from torch.testing._internal.common_utils import run_tests
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


class TestCollectives(DTensorTestBase):
    @property
    def world_size(self):
        return 2

    @with_comms
    def test_all_reduce(self):
        mine = torch.full((3,), self.rank + 1.0, device=self.device_type)
        dist.all_reduce(mine)
        self.assertEqual(mine.cpu(), torch.full((3,), 3.0))

    @with_comms
    def test_all_gather(self):
        mine = torch.full((2,), float(self.rank), device=self.device_type)
        parts = [torch.empty_like(mine) for _ in range(self.world_size)]
        dist.all_gather(parts, mine)
        self.assertEqual([part.tolist() for part in parts], [[0.0, 0.0], [1.0, 1.0]])

    @with_comms
    def test_convolution_of_what_is_reduced(self):
        mine = torch.ones(1, 1, 3, device=self.device_type)
        dist.all_reduce(mine)
        sums = torch.nn.functional.conv1d(mine, torch.ones(1, 1, 2, device=self.device_type))
        self.assertEqual(sums.cpu(), torch.full((1, 1, 2), 4.0))


if __name__ == "__main__":
    run_tests()
