"""instantiate_device_type_tests in one process: dtypes, devices, skips and expected failures by device."""

import unittest

import torch
from torch.testing._internal.common_device_type import (
    deviceCountAtLeast,
    dtypes,
    dtypesIfCPU,
    instantiate_device_type_tests,
    onlyCPU,
    onlyCUDA,
    skipCPUIf,
    skipMeta,
)
from torch.testing._internal.common_utils import TestCase, parametrize, run_tests


class TestDevices(TestCase):
    def test_device(self, device):
        self.assertEqual(torch.ones(2, device=device).device.type, torch.device(device).type)

    @dtypes(torch.float32, torch.int64)
    def test_dtype(self, device, dtype):
        self.assertEqual(torch.zeros(1, device=device, dtype=dtype).dtype, dtype)

    @dtypesIfCPU(torch.float64)
    @dtypes(torch.float16)
    def test_dtype_of_the_device(self, device, dtype):
        self.assertEqual(dtype, torch.float64)

    @onlyCPU
    @parametrize("size", [1, 2])
    @dtypes(torch.float32, torch.bool)
    def test_all_together(self, device, dtype, size):
        self.assertEqual(torch.zeros(size, dtype=dtype, device=device).numel(), size)

    @onlyCUDA
    def test_cuda(self, device):
        self.fail("must not run on the CPU")

    @skipMeta
    @skipCPUIf(True, "not on the CPU")
    def test_not_on_cpu(self, device):
        self.fail("must not run on the CPU")

    @deviceCountAtLeast(1)
    def test_devices(self, devices):
        self.assertEqual(torch.device(devices[0]).type, "cpu")

    @unittest.expectedFailure
    def test_expected_failure(self, device):
        self.assertEqual(device, "no device")

    def test_fails(self, device):
        self.assertEqual(torch.ones(1, device=device), torch.zeros(1, device=device))


instantiate_device_type_tests(TestDevices, globals(), only_for=("cpu",))

if __name__ == "__main__":
    run_tests()
