"""What upstream's classes have and ours have not: torch's own, on ours."""

import unittest
from unittest import mock

import torch

from torch_testing_shim import common_utils
from torch_testing_shim._rank_records import records_of
from torch_testing_shim._test_notes import notes_of
from torch_testing_shim._upstream.class_rest import torchs_class
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, DTensorTestMixin


class Attributes(TestCase):
    """What upstream's TestCase has and ours has not: torch's own, on ours."""

    @property
    def broken(self):
        return self.maxDiff.no_such_name

    def test_methods_work_on_this_test(self):
        self.assertTrue(self.genSparseTensor((3, 3), 2, 3, False, "cpu", torch.float32)[0].is_sparse)
        self.assertExpectedInlineMunged(KeyError, lambda: {}[1], """1""")
        with self.assertRaises(AssertionError):
            self.assertExpectedInlineMunged(KeyError, lambda: None, """1""")
        self.assertFalse(self._should_stop_test_suite())
        self.assertIn("torch", self.runWithPytorchAPIUsageStderr("import torch"))  # uses another by the class

    def test_a_test_that_asks_for_none_of_it_costs_no_look_at_torchs_class(self):
        class Sample(TestCase):
            def test(self):
                pass

        def look(_, name):
            asked.append(name)
            raise AttributeError(name)

        asked = []
        with mock.patch.object(common_utils, "torchs_attribute", look):
            test = Sample("test")
            test.run(unittest.TestResult())
            self.assertEqual(((), ()), (notes_of(test), records_of(test)))
        self.assertEqual([], [name for name in asked if not name.startswith("__")])

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

    def test_what_processes_do_is_not_torchs(self):
        for name in ("_start_processes", "_check_return_codes", "_event_listener"):
            code = getattr(getattr(DTensorTestBase(), name, None), "__code__", None)
            self.assertNotIn("torch/testing/_internal", code.co_filename if code is not None else "")


if __name__ == "__main__":
    run_tests()
