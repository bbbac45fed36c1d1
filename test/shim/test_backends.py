"""Records by which a package describes its device, as tests ask for them. They are simulated here;
test_sample_backend.py has a package that brings one."""

from types import SimpleNamespace
from unittest import mock

import torch

from torch_testing_shim import backends
from torch_testing_shim._engine import devices
from torch_testing_shim._engine.backend_records import FoundBackend
from torch_testing_shim._engine.driver import DRIVER
from torch_testing_shim._skips.conditions import skip_reason
from torch_testing_shim.backends import Backend, has_capability, requires_capability
from torch_testing_shim.common_cuda import PLATFORM_SUPPORTS_FLASH_ATTENTION, PLATFORM_SUPPORTS_MEM_EFF_ATTENTION
from torch_testing_shim.common_distributed import evaluate_platform_supports_symm_mem, requires_multicast_support
from torch_testing_shim.common_utils import TestCase, run_tests

KNOWN = ["multicast_memory", "symmetric_memory", "flash_attention", "memory_efficient_attention"]


class Capabilities(TestCase):
    def setUp(self):
        super().setUp()
        for flag in (PLATFORM_SUPPORTS_FLASH_ATTENTION, PLATFORM_SUPPORTS_MEM_EFF_ATTENTION):
            patch = mock.patch.object(flag, "_answer", None)  # nobody has asked yet
            patch.start()
            self.addCleanup(patch.stop)

    def record(self, *capabilities):
        """Have a device "ruby" be in use until the test ends, whose package names these."""
        found = FoundBackend(Backend("ruby", capabilities=frozenset(capabilities)), "torch-gems 1.0")
        self.find_accelerator("ruby")
        for patch in (
            mock.patch.multiple(devices, accelerator_type=lambda: "ruby", accelerator_count=lambda: 1),
            mock.patch.object(devices, "backend_record", {"ruby": found}.get),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def find_accelerator(self, device_type):
        """Have torch say until the test ends that its accelerator is of this type, whatever it was built for."""
        found = SimpleNamespace(type=device_type)
        patch = mock.patch.object(torch.accelerator, "current_accelerator", lambda *_, **__: found)
        patch.start()
        self.addCleanup(patch.stop)

    def reason(self, decorator):
        """Why the decorator skips a test before any rank starts."""
        return skip_reason(self, decorator(lambda case: None))

    def answers(self):
        return [
            self.reason(requires_multicast_support()) is None,
            evaluate_platform_supports_symm_mem(),
            bool(PLATFORM_SUPPORTS_FLASH_ATTENTION),
            bool(PLATFORM_SUPPORTS_MEM_EFF_ATTENTION),
        ]

    def test_those_that_are_documented_are_those_that_are_known(self):
        self.assertEqual(set(KNOWN), set(backends._KNOWN))
        self.assertEqual([], [name for name in KNOWN if name not in backends.__doc__])

    def test_decorators_and_flags_ask_the_record(self):
        self.record(*KNOWN)
        self.assertEqual([True] * 4, self.answers())
        self.assertEqual([True] * 4, [has_capability(name) for name in KNOWN])

    def test_what_a_record_does_not_name_is_not_there(self):
        self.record("crystal_clock")
        self.assertEqual([False] * 4, self.answers())
        self.assertEqual([False] * 4, [has_capability(name) for name in KNOWN])

    def test_a_capability_of_the_packages_own(self):
        self.record("crystal_clock")
        self.assertIsNone(self.reason(requires_capability("crystal_clock")))
        self.assertEqual("needs 'sundial', which ruby does not have", self.reason(requires_capability("sundial")))

    def test_of_a_device_without_a_record_torch_is_asked(self):
        self.record()
        self.find_accelerator("cuda")
        with (
            mock.patch.multiple(devices, accelerator_type=lambda: "cuda"),
            mock.patch.multiple(DRIVER, may_start=True, _answers={}),
            mock.patch("torch._C._distributed_c10d._SymmetricMemory.has_multicast_support", return_value=True),
        ):
            self.assertEqual([True, True], [has_capability(name) for name in KNOWN[:2]])
            self.assertIsNone(self.reason(requires_capability("symmetric_memory")))


if __name__ == "__main__":
    run_tests()
