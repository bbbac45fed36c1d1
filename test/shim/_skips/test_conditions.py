"""Conditions that hang on a test. One that may run on the CPU is never skipped for want of accelerators: here there is
one, which is simulated."""

import functools
import sys
import unittest
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim._skips.conditions import skip_reason, skip_where
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import with_comms

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from quartz_samples import InstalledQuartzTestCase

TESTS = """
from torch_testing_shim.common_distributed import MultiProcContinuousTest
from torch_testing_shim.common_fsdp import FSDPTest
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorOpTestBase

class LikeThePortedOne(DTensorTestBase):
    @property
    def backend(self):
        return f"cpu:gloo,{self.device_type}:{dist.get_default_backend_for_device(self.device_type)}"

    @skip_if_lt_x_gpu(2, allow_cpu=True)
    @with_comms
    @with_temp_dir
    @parametrize("planner", [True])
    def test_on_cpu(self, planner):
        self.assertEqual(("cpu", 4), (self.device_type, dist.get_world_size()))
        total = torch.ones(2)
        dist.all_reduce(total)
        self.assertEqual([4.0, 4.0], total.tolist())
        if self.rank == 0:  # it imports torch
            self.assertEqual("cpu", subprocess.check_output([sys.executable, "-c", ASK], text=True).strip())

    @skip_if_lt_x_gpu(2)
    @with_comms
    def test_skips(self):
        self.fail("there is one accelerator")

ASK = "from torch_testing_shim._engine.devices import device_in_use; print(device_in_use().type)"

class One(DTensorTestBase):
    world_size = 1

    @with_comms
    @skip_if_lt_x_gpu(2, allow_cpu=True)
    def test_on_cpu(self):
        self.assertEqual(("cpu", "gloo"), (self.device_type, dist.get_backend()))

    @with_comms
    @skip_if_lt_x_gpu(1, allow_cpu=True)
    def test_on_quartz(self):
        self.assertEqual(("quartz", "quartzlink"), (self.device_type, dist.get_backend()))

class FSDP(FSDPTest):
    @skip_if_lt_x_gpu(2, allow_cpu=True)
    def test_on_cpu(self):
        self.assertEqual(("gloo", 4), (dist.get_backend(), dist.get_world_size()))

    def test_on_quartz(self):
        self.assertEqual(("quartzlink", 1), (dist.get_backend(), dist.get_world_size()))

class Kept(MultiProcContinuousTest):
    def test_1_on_quartz(self):
        self.assertEqual(("quartz:0", 1), (str(self.device), dist.get_world_size()))

    @skip_if_lt_x_gpu(2, allow_cpu=True)
    def test_2_on_cpu(self):
        self.assertEqual(("cpu", "gloo", 4), (str(self.device), dist.get_backend(), dist.get_world_size()))

    def test_3_on_quartz(self):
        self.assertEqual(("quartz:0", 1), (str(self.device), dist.get_world_size()))

class KeptOfTwo(MultiProcContinuousTest):
    world_size = 2

    def test_on_cpu(self):  # with one device for two ranks
        self.assertEqual(("cpu", "gloo"), (str(self.device), dist.get_backend()))

@skip_if_lt_x_gpu(2)
class Skips(DTensorTestBase):
    @with_comms
    def test_skips(self):
        self.fail("there is one accelerator")

@skip_if_lt_x_gpu(2, allow_cpu=True)
class WholeClass(DTensorTestBase):
    @with_comms
    def test_on_cpu(self):
        self.assertEqual(("cpu", 4), (self.device_type, dist.get_world_size()))

class Threads(DTensorOpTestBase):
    world_size = 2

    @skip_if_lt_x_gpu(2, allow_cpu=True)
    def test_on_cpu(self):
        self.assertEqual("cpu", self.device_type)

instantiate_parametrized_tests(LikeThePortedOne)
"""


class AllowCpu(InstalledQuartzTestCase):
    def test_with_one_accelerator(self):
        run = self.run_sample(TESTS, TORCH_TESTING_SHIM_DEVICE_INDICES="0")
        self.assertEqual(0, run.exit_code, run.output)
        reason = "^needs at least 2 accelerators, found 1$"
        skipped = {"LikeThePortedOne.test_skips", "Skips.test_skips"}
        for test in skipped:
            self.assert_status(run, test, TestStatus.SKIPPED, reason)
        self.assertEqual(13, len(run.entries))
        for test in run.entries.keys() - skipped:
            self.assert_status(run, test, TestStatus.PASSED)


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


if __name__ == "__main__":
    run_tests()
