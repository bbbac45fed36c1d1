"""Skips for missing devices and backends: decided without ranks where that is possible, with the reason they give.

Accelerators are simulated, as in test_engine_devices.
"""

import functools
import os
import sys
import unittest
from pathlib import Path
from unittest import mock

import torch.distributed as dist

from torch_testing_shim import common_distributed
from torch_testing_shim._engine import devices
from torch_testing_shim._engine.skip_codes import TEST_SKIPS, skip_message
from torch_testing_shim._skips.conditions import runs_on_cpu, skip_reason, skip_where
from torch_testing_shim.common_distributed import (
    requires_accelerator_dist_backend,
    requires_gloo,
    requires_nccl,
    skip_if_lt_x_gpu,
)
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import NO_DEVICE_CHOSEN


def machine_with(count, accelerator="cuda"):
    """A context in which torch finds `count` accelerators of a type, and nobody has chosen a device."""
    return mock.patch.multiple(devices, accelerator_type=lambda: accelerator, accelerator_count=lambda: count)


class Base(TestCase):
    def setUp(self):
        super().setUp()
        environment = mock.patch.dict(os.environ, NO_DEVICE_CHOSEN)
        environment.start()
        self.addCleanup(environment.stop)

    def reason(self, decorator, count=0, accelerator="cuda"):
        """Why a decorated test is skipped: as told without ranks, which has to agree with what the test itself says."""

        @decorator
        def test(case):
            return "ran"

        with machine_with(count, accelerator):
            reason = skip_reason(self, test)
            if reason is None:
                self.assertEqual("ran", test(self))
            else:
                with self.assertRaisesRegex(unittest.SkipTest, reason):
                    test(self)
        return reason


class GpuCounts(Base):
    def test_fewer_than_wanted(self):
        self.assertEqual("needs at least 2 accelerators, found 0", self.reason(skip_if_lt_x_gpu(2)))
        self.assertEqual("needs at least 2 accelerators, found 1", self.reason(skip_if_lt_x_gpu(2), 1))
        self.assertEqual("needs at least 9 accelerators, found 8", self.reason(skip_if_lt_x_gpu(9), 8, "npu"))

    def test_enough(self):
        self.assertIsNone(self.reason(skip_if_lt_x_gpu(2), 2))
        self.assertIsNone(self.reason(skip_if_lt_x_gpu(2), 3, "xpu"))

    def test_allow_cpu_means_no_skip(self):
        allowed = skip_if_lt_x_gpu(2, allow_cpu=True)
        for count, on_cpu in ((0, False), (1, True), (2, False)):  # without accelerators it runs there anyway
            self.assertIsNone(self.reason(allowed, count))
            with machine_with(count):
                self.assertIs(on_cpu, runs_on_cpu(Base, allowed(lambda case: None)))

    def test_cpu_ranks_count_when_the_cpu_is_chosen(self):
        os.environ["TORCH_TESTING_SHIM_DEVICE"] = "cpu"
        self.assertIsNone(self.reason(skip_if_lt_x_gpu(8), 1))


class WhereTestsRun(Base):
    def on(self, count, accelerator="cuda"):
        with machine_with(count, accelerator):
            case = DTensorTestBase()
            return case.world_size, case.device_type

    def test_world_size_and_device(self):
        self.assertEqual((4, "cpu"), self.on(0, None))
        self.assertEqual((4, "cpu"), self.on(1))  # not enough for four ranks
        self.assertEqual((2, "cuda"), self.on(2))
        self.assertEqual((4, "xpu"), self.on(8, "xpu"))
        os.environ["TORCH_TESTING_SHIM_DEVICE"] = "cpu"
        self.assertEqual((4, "cpu"), self.on(8))


class Backends(Base):
    def test_accelerator_backend(self):
        reason = "needs an accelerator with a process-group backend"
        self.assertEqual(reason, self.reason(requires_accelerator_dist_backend(), 0, None))
        self.assertIsNone(self.reason(requires_accelerator_dist_backend(["mpi", "gloo"])))
        named = self.reason(requires_accelerator_dist_backend(["a", "b"]))
        self.assertEqual("needs one of the backends a, b", named)

    def test_accelerators_backends_need_an_accelerator(self):
        available = mock.patch.multiple(dist, is_backend_available=lambda name: True, is_nccl_available=lambda: True)
        with available, mock.patch.dict(dist.Backend.backend_capability, nccl=["cuda"]):
            named = requires_accelerator_dist_backend(["nccl"])
            self.assertEqual("needs an accelerator for one of the backends nccl", self.reason(named, 0, "cuda"))
            self.assertEqual("needs at least 1 accelerators, found 0", self.reason(requires_nccl(), 0, "cuda"))
            for decorator in (named, requires_nccl()):
                self.assertIsNone(self.reason(decorator, 1, "cuda"))
                with mock.patch.dict("os.environ", TORCH_TESTING_SHIM_DEVICE="cpu"):  # whose ranks count instead
                    self.assertIsNone(self.reason(decorator, 0, None))

    def test_any_backend_that_is_registered_will_do(self):
        """No list of known names: whatever torch says of the accelerator in use."""
        with mock.patch.object(dist, "get_default_backend_for_device", lambda device: {"cuda": "gloo"}[device]):
            self.assertIsNone(self.reason(requires_accelerator_dist_backend(), 1))
            with mock.patch.object(dist, "is_backend_available", lambda name: False):
                missing = self.reason(requires_accelerator_dist_backend(), 1)
                self.assertEqual("the process-group backend of cuda is not available", missing)

    def test_an_accelerator_without_a_backend(self):
        def no_backend(device):
            raise ValueError(device)

        with mock.patch.object(dist, "get_default_backend_for_device", no_backend):
            reason = self.reason(requires_accelerator_dist_backend(), 1)
        self.assertEqual("no process-group backend is registered for device 'cuda'", reason)

    def test_built_in_backends(self):
        for name, decorator in (("gloo", requires_gloo), ("nccl", requires_nccl)):
            with self.subTest(name):
                is_there = getattr(dist, f"is_{name}_available")()

                @decorator()
                def test(case):
                    pass

                self.assertEqual(not is_there, getattr(test, "__unittest_skip__", False))


class Conditions(TestCase):
    def test_they_travel_outwards_through_wraps_and_the_first_reason_counts(self):
        inner = skip_where(lambda case: "inner")
        outer = skip_where(lambda case: None)

        @outer
        @with_comms
        @inner
        def test(case):
            pass

        self.assertEqual("inner", skip_reason(self, test))

    def test_a_decorator_without_wraps_hides_them_and_the_test_still_skips(self):
        @skip_where(lambda case: "inside")
        def test(case):
            pass

        hidden = functools.partial(test)
        self.assertIsNone(skip_reason(self, lambda case: hidden(case)))
        with self.assertRaisesRegex(unittest.SkipTest, "inside"):
            hidden(self)

    def test_condition_sees_the_test_case(self):
        self.assertEqual(self.id(), skip_reason(self, skip_where(lambda case: case.id())(lambda case: None)))


class ExitCodes(TestCase):
    def test_codes_are_upstreams_and_differ(self):
        codes = [skip.exit_code for skip in TEST_SKIPS.values()]
        self.assertEqual(len(codes), len(set(codes)))
        self.assertEqual((77, 80, 85, 86), tuple(TEST_SKIPS[n].exit_code for n in KNOWN))
        self.assertIs(TEST_SKIPS, common_distributed.TEST_SKIPS)

    def test_message_of_a_code(self):
        self.assertEqual(TEST_SKIPS["nccl"].message, skip_message(76))
        for code in (0, 1, 10, None, "x"):
            self.assertIsNone(skip_message(code))


KNOWN = ("multi-gpu-2", "multi-gpu-3", "multi-gpu-8", "generic")

if __name__ == "__main__":
    run_tests()
