"""Constants about devices at the top of a module, in conditions of classes and in tests."""

import unittest

import torch
from torch.testing._internal.common_cuda import TEST_CUDA, TEST_MULTIGPU
from torch.testing._internal.common_distributed import MultiProcessTestCase
from torch.testing._internal.common_fsdp import get_devtype
from torch.testing._internal.common_utils import TEST_WITH_DEV_DBG_ASAN, TestCase, run_tests
from torch.testing._internal.distributed._shard.sharded_tensor import TEST_GPU_NUM
from torch.testing._internal.distributed._tensor.common_dtensor import NUM_DEVICES

device_type = acc.type if (acc := torch.accelerator.current_accelerator()) else "cpu"
device_count = torch.accelerator.device_count()
device = torch.device("cuda" if TEST_CUDA else "cpu")
devtype = torch.device(get_devtype())

if TEST_WITH_DEV_DBG_ASAN:
    raise SystemExit(0)


class ConstantsTest(TestCase):
    def test_values(self):
        self.assertEqual(device_type, device.type)
        self.assertEqual(device_type, devtype.type)
        self.assertEqual(device_type == "cpu", device_count == 0)
        self.assertEqual(TEST_GPU_NUM, 4)
        self.assertGreaterEqual(NUM_DEVICES, 2)

    @unittest.skipIf(not TEST_MULTIGPU, "needs two GPUs")
    def test_two_gpus(self):
        self.assertGreater(device_count, 1)

    @unittest.skipUnless(device_type == "cpu", "this is for the CPU")
    def test_cpu_alone(self):
        self.assertEqual(torch.ones(1, device=device_type).device.type, "cpu")


@unittest.skipIf(device_count < 2 and device_type != "cpu", "too few devices")
class RanksTest(MultiProcessTestCase):
    world_size = min(NUM_DEVICES, 2)

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_constants_in_ranks(self):
        self.assertEqual(self.world_size, 2)
        self.assertEqual(torch.zeros(1, device=device).device.type, device_type)


if __name__ == "__main__":
    run_tests()
