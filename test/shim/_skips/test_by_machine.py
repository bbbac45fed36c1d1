"""Skips by the machine and the build of torch: each decorator on a test, on machines that cannot be had here."""

import sys
import types
import unittest
from unittest import mock

import torch
import torch.distributed as dist

from torch_testing_shim import common_distributed
from torch_testing_shim._engine.devices import DeviceInUse
from torch_testing_shim._engine.driver import DRIVER
from torch_testing_shim._shared.device_map import DeviceMap
from torch_testing_shim._skips import by_machine, capabilities
from torch_testing_shim.common_distributed import (
    import_transformers_or_skip,
    requires_multicast_support,
    requires_nccl_shrink,
    requires_nccl_version,
    skip_if_rocm_arch_multiprocess,
    skip_if_rocm_multiprocess,
    skip_if_rocm_ver_lessthan_multiprocess,
    sm_is_or_higher_than,
)
from torch_testing_shim.common_utils import TestCase, run_tests

CPU, GPU = DeviceInUse("cpu", 0), DeviceInUse("cuda", 1)


class Skips(TestCase):
    def run_decorated(self, decorator, device=CPU):
        """The reason for which a decorated test skips; None where it runs."""

        class Sample(unittest.TestCase):
            def test_it(self):
                ran.append(True)

        Sample.test_it = decorator(Sample.test_it)
        ran, result = [], unittest.TestResult()
        with (
            mock.patch.object(by_machine, "device_in_use", lambda: device),
            mock.patch.object(capabilities, "device_in_use", lambda: device),
        ):
            Sample("test_it").run(result)
        self.assertEqual(([], []), (result.errors, result.failures))
        self.assertEqual(not ran, bool(result.skipped))
        return result.skipped[0][1] if result.skipped else None

    def test_by_nccl(self):
        new = requires_nccl_version((2, 99), "for the test")
        self.assertIsNone(self.run_decorated(new))  # says nothing of other devices
        with mock.patch.object(dist, "is_nccl_available", lambda: False):
            self.assertEqual("torch was built without NCCL", self.run_decorated(new, GPU))
        with (
            mock.patch.object(dist, "is_nccl_available", lambda: True),
            mock.patch("torch.cuda.nccl.version", lambda: (2, 26, 5)),
        ):
            self.assertEqual("needs NCCL 2.99, found 2.26.5: for the test", self.run_decorated(new, GPU))
            self.assertIsNone(self.run_decorated(requires_nccl_version((2, 26), ""), GPU))
            self.assertRegex(self.run_decorated(requires_nccl_shrink(), GPU), "^needs NCCL 2.27, found")
            mapped = mock.Mock(device_map=DeviceMap("cuda", "cpu"))
            with mock.patch.object(by_machine, "settings_or_default", lambda: mapped):
                self.assertEqual("needs NCCL 2.99, found 2.26.5: for the test", self.run_decorated(new))

    def test_by_platform(self):
        self.assertEqual("needs a device with multicast memory", self.run_decorated(requires_multicast_support()))
        with mock.patch("importlib.util.find_spec", lambda _: None):
            self.assertEqual(
                "the package transformers is not installed", self.run_decorated(import_transformers_or_skip())
            )
        with mock.patch.dict(sys.modules, transformers=types.ModuleType("transformers")):
            sys.modules["transformers"].__spec__ = mock.Mock()
            self.assertIsNone(self.run_decorated(import_transformers_or_skip()))

    def test_by_rocm(self):
        self.assertIs(common_distributed.skip_if_rocm, skip_if_rocm_multiprocess)  # its older name
        arch, version = skip_if_rocm_arch_multiprocess, skip_if_rocm_ver_lessthan_multiprocess
        for decorator in (skip_if_rocm_multiprocess, arch(("gfx90a",)), version((6, 4))):
            self.assertIsNone(self.run_decorated(decorator))
        with (  # a machine with ROCm cannot be had here
            mock.patch.multiple(DRIVER, may_start=True, _answers={}),
            mock.patch.object(by_machine, "TEST_WITH_ROCM", True),
            mock.patch.object(torch.version, "hip", "6.3.42133-1b9c17779"),
            mock.patch("torch.cuda.get_device_properties", lambda _: mock.Mock(gcnArchName="gfx90a:sramecc+")),
        ):
            self.assertEqual("does not run on ROCm", self.run_decorated(skip_if_rocm_multiprocess))
            self.assertEqual("does not run on gfx90a", self.run_decorated(arch(("gfx90a",))))
            self.assertIsNone(self.run_decorated(arch(("gfx942",))))
            self.assertEqual("needs ROCm 6.4, found ROCm 6.3.42133", self.run_decorated(version((6, 4))))
            self.assertIsNone(self.run_decorated(version((6, 2))))
            self.assertEqual("needs another platform, found ROCm 6.3.42133", self.run_decorated(version()))

    def test_capabilities(self):
        is_enough = sm_is_or_higher_than
        self.assertTrue(is_enough(torch.device("cpu"), 99, 0))
        with (
            mock.patch.multiple(DRIVER, may_start=True, _answers={}),
            mock.patch("torch.cuda.get_device_capability", lambda _: (8, 6)),
        ):
            cuda = torch.device("cuda", 0)
            self.assertEqual([True, True, False], [is_enough(cuda, 8, minor) for minor in (0, 6, 9)])


if __name__ == "__main__":
    run_tests()
