"""Methods of tensors and functions of torch in a run that maps devices: the answers themselves, nothing patched."""

import torch

from torch_testing_shim._shared.device_map import DeviceMap
from torch_testing_shim._upstream.device_names import DeviceNames
from torch_testing_shim._upstream.device_objects import TensorCalls, TorchCalls, pinned_as_asked
from torch_testing_shim.common_utils import TestCase, run_tests


class Objects(TestCase):
    names = DeviceNames(DeviceMap("cuda", "cpu"))

    def setUp(self):
        super().setUp()
        self.tensor, self.torch = TensorCalls(self.names), TorchCalls(self.names, torch.cpu.current_stream)

    def test_pinned_memory(self):
        ones = torch.ones(3)
        pinned = self.tensor.pin_memory(ones)
        self.assertEqual([False, True, True], [self.tensor.is_pinned(each) for each in (ones, pinned, pinned[1:])])
        self.assertEqual(ones, pinned)
        self.assertIs(pinned, self.tensor.pin_memory(pinned))
        made = pinned_as_asked(torch.zeros, self.names)(2, device="cuda", pin_memory=True)
        self.assertTrue(self.tensor.is_pinned(made))
        self.assertFalse(self.tensor.is_pinned(made + 1))

    def test_conversions(self):
        ones = torch.ones(2)
        self.assertIs(ones, self.tensor.cuda(ones, 1, non_blocking=True))
        self.assertIs(ones, self.tensor.to(ones, 1))
        self.assertEqual(torch.float64, self.tensor.to(ones, "cuda:1", torch.float64).dtype)
        self.assertEqual(torch.int8, self.tensor.to(ones, torch.int8).dtype)
        self.assertEqual("torch.FloatTensor", self.tensor.type(ones))
        self.assertEqual(torch.float64, self.tensor.type(ones, "torch.cuda.DoubleTensor").dtype)

    def test_modules_of_devices(self):
        for device in (None, "cuda", "cpu", torch.device("cpu", 1)):
            self.assertIs(torch.cuda, self.torch.get_device_module(device))
        self.assertIs(torch.mps, self.torch.get_device_module("mps"))

    def test_casts_are_those_of_the_other_device(self):
        with torch.autocast("cpu", torch.bfloat16):
            self.assertTrue(self.torch.is_autocast_enabled() and self.torch.is_autocast_enabled("cuda"))
            self.assertEqual(torch.bfloat16, self.torch.get_autocast_gpu_dtype())
        self.assertFalse(self.torch.is_autocast_enabled())


if __name__ == "__main__":
    run_tests()
