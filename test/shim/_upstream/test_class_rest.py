"""Names that upstream's classes have and ours lack: torch's own, on ours."""

import sys
from pathlib import Path

import torch

from torch_testing_shim._upstream.class_rest import torchs_class
from torch_testing_shim.common_fsdp import FSDPTest, FSDPTestContinuous
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import (
    DTensorContinuousTestBase,
    DTensorTestBase,
    DTensorTestMixin,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

#: In a process of its own, since what one use has brought would be there for the next.
GOES_THROUGH_ALL = """
from torch_testing_shim._upstream.graft import graft_of
from torch_testing_shim.common_utils import instantiate_parametrized_tests
from torch_testing_shim.distributed._tensor import common_dtensor

class Sample(common_dtensor.DTensorTestBase):
    def test(self): pass

instantiate_parametrized_tests(Sample)
print(graft_of(common_dtensor.__name__)._aside)
"""
BY_CLASS_AND_SUPER = """
import torch
from torch_testing_shim.common_utils import TestCase
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestMixin

class Extending(TestCase):
    def genSparseTensor(self, *args):
        return super().genSparseTensor(*args)[0]

assert Extending().genSparseTensor((3, 3), 2, 3, False, "cpu", torch.float32).is_sparse
assert callable(DTensorTestMixin._test_op)
print(TestCase.runWithPytorchAPIUsageStderr("import sys; sys.stderr.write('from the child')"))
"""


class InAProcessOfItsOwn(SampleTestCase):
    def check_last_line(self, printed, program):
        path = self.folder / "program.py"
        path.write_text(program)
        run = self.run_command(str(path))
        self.assertEqual((0, printed), (run.exit_code, run.output.splitlines()[-1]), run.output)

    def test_on_the_class_and_by_super(self):
        self.check_last_line("from the child", BY_CLASS_AND_SUPER)

    def test_who_goes_through_all_names_has_no_class_of_torchs_made(self):
        self.check_last_line("{}", GOES_THROUGH_ALL)


class Attributes(TestCase):
    """Names that upstream's TestCase has and ours lacks: torch's own, on ours."""

    @property
    def broken(self):
        return self.maxDiff.no_such_name

    def test_methods_work_on_this_test(self):
        self.assertTrue(self.genSparseTensor((3, 3), 2, 3, False, "cpu", torch.float32)[0].is_sparse)
        self.assertExpectedInlineMunged(KeyError, lambda: {}[1], """1""")
        with self.assertRaises(AssertionError):
            self.assertExpectedInlineMunged(KeyError, lambda: None, """1""")
        self.assertIn("torch", self.runWithPytorchAPIUsageStderr("import torch"))  # uses another by the class

    def test_assertions_compare_by_ours(self):
        self.assertEqualBroadcasting(torch.full((3, 2), 2.0), [2.0, 2.0])
        with self.assertRaisesRegex(AssertionError, "Tensor-likes are not close"):
            self.assertEqualBroadcasting(torch.ones(3, 2), 2)
        with self.assertRaises(AssertionError):
            self.compare_with_numpy(torch.sin, lambda array: array, [1.0, 2.0], "cpu", torch.float64)

    def test_ours_of_another_base_goes_before(self):
        self.assertNotIn("torch/testing/_internal", FSDPTestContinuous._run.__code__.co_filename)

    def test_values(self):
        self.assertEqual((0, 0, False), (self._precision, self._rel_tol, self._ignore_not_implemented_error))

    def test_what_neither_has(self):
        self.assertFalse(hasattr(self, "init_pg"))
        with self.assertRaisesRegex(AttributeError, "'Attributes' object has no attribute 'no_such_name'"):
            _ = self.no_such_name

    def test_an_error_in_a_property_is_shown(self):
        with self.assertRaisesRegex(AttributeError, "'NoneType' object has no attribute 'no_such_name'"):
            _ = self.broken

    def test_a_mixin_that_is_marked(self):
        self.assertIn("_test_op", torchs_class(DTensorTestMixin))
        self.assertTrue(callable(DTensorTestBase()._test_op))

    def test_all_names_that_classes_list_can_be_had(self):
        """On torch 2.6, whose classes stand for the mixins, too: `instantiate_parametrized_tests` goes through them."""
        for each in (DTensorTestBase, DTensorContinuousTestBase, FSDPTest, FSDPTestContinuous):
            self.assertEqual([], [name for name in dir(each) if not hasattr(each, name)], each.__name__)

    def test_what_processes_do_is_not_torchs(self):
        for name in ("_start_processes", "_check_return_codes", "_event_listener"):
            code = getattr(getattr(DTensorTestBase(), name, None), "__code__", None)
            self.assertNotIn("torch/testing/_internal", code.co_filename if code is not None else "")


if __name__ == "__main__":
    run_tests()
