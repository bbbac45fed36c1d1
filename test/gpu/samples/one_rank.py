"""One rank with the device's own process-group backend; and tests that do not pass, each in its way.

They come to the same where ranks are forked, where a test of the test process has used the device before, and where
the file has used it before any test ran (GPU_CHECK_USES_FIRST), after which no process that uses it can be forked.
"""

import os

import torch
import torch.distributed as dist
from here import DEVICE, MODULE

from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


def use_the_device():
    MODULE.set_device(0)
    return torch.ones(2, device=DEVICE).sum().item()


if os.environ.get("GPU_CHECK_USES_FIRST"):
    use_the_device()


class ATestProcess(TestCase):
    def test_uses_the_device(self):
        self.assertEqual(use_the_device(), 2.0)


class OneRank(DTensorTestBase):
    world_size = 1

    @with_comms
    def test_collectives(self):
        self.assertEqual(self.device_type, DEVICE)
        self.assertIn(dist.get_default_backend_for_device(DEVICE), dist.get_backend())
        ones = torch.ones(4, device=DEVICE)
        gathered = torch.zeros(4, device=DEVICE)
        dist.all_reduce(ones)
        dist.all_gather_into_tensor(gathered, ones)
        self.assertEqual(gathered.tolist(), [1.0] * 4)

    @with_comms
    def test_fails(self):
        self.assertEqual(torch.ones(1, device=DEVICE), torch.zeros(1, device=DEVICE))

    @with_comms
    def test_skips(self):
        self.skipTest("not today")

    @with_comms
    def test_dies(self):
        torch.ones(1, device=DEVICE)
        os._exit(3)


if __name__ == "__main__":
    run_tests()
