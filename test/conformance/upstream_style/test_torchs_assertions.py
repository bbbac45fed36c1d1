"""What torch's TestCase has besides comparison, on the class and on the instance, and settings of a class."""

import logging
import subprocess
import sys
import unittest
import warnings

import torch
from torch.testing._internal.common_utils import (
    BytesIOContext,
    TemporaryDirectoryName,
    TemporaryFileName,
    TestCase,
    run_tests,
    set_cwd,
    set_warn_always_context,
    skip_exception_type,
)


class HelpersTest(TestCase):
    def test_child_process_on_the_class(self):
        stderr = TestCase.runWithPytorchAPIUsageStderr("import sys; print('from the child', file=sys.stderr)")
        self.assertIn("from the child", stderr)

    def test_child_process_fails(self):
        with self.assertRaises(subprocess.CalledProcessError):
            type(self).run_process_no_exception("raise SystemExit(3)")

    def test_child_process_fails_unasked(self):
        self.run_process_no_exception("raise SystemExit(3)")

    def test_warnings(self):
        with self.assertWarnsOnceRegex(UserWarning, "twice"):
            warnings.warn("twice or more", UserWarning, stacklevel=2)
        self.assertNotWarn(lambda: None)

    def test_warns_unexpectedly(self):
        self.assertNotWarn(lambda: warnings.warn("no", stacklevel=2), "something warned")

    def test_sparse(self):
        values, _, _ = self.genSparseTensor((3, 4), 2, 5, False, torch.device("cpu"), torch.float64)
        self.assertEqual(self.safeToDense(values), values.to_dense())
        rows = self.genSparseCSRTensor((4, 4), 6, device="cpu", dtype=torch.float32, index_dtype=torch.int64)
        self.assertEqual(rows.layout, torch.sparse_csr)

    def test_compressed_inputs(self):
        drawn = self.generate_simple_inputs(torch.sparse_csr, device="cpu", dtype=torch.float32)
        self.assertTrue(all(tensor.layout is torch.sparse_csr for tensor in drawn))

    def test_numpy(self):
        self.compare_with_numpy(
            torch.sin, lambda array: __import__("numpy").sin(array), [0.0, 1.0], "cpu", torch.float64
        )

    def test_against_numpy_and_wrong(self):
        self.compare_with_numpy(torch.sin, lambda array: array, [1.0, 2.0], "cpu", torch.float64)

    def test_nondeterministic_alert(self):
        self.check_nondeterministic_alert(lambda: torch.ones(2) + 1, "add", should_alert=False)

    def test_unraisable(self):
        class Failing:
            def __del__(self):
                raise ValueError("in __del__")

        self.assertNoUnraisable(object)
        with self.assertRaises(AssertionError):
            self.assertNoUnraisable(Failing)

    def test_unraisable_is_seen(self):
        class Failing:
            def __del__(self):
                raise ValueError("in __del__")

        self.assertNoUnraisable(Failing)

    def test_device_of_native_classes(self):
        with self.assertRaisesRegex(RuntimeError, "match|broadcast"):
            torch.ones(2) + torch.ones(3)

    def test_wrong_text(self):
        with self.assertRaisesRegex(RuntimeError, "nothing of the kind"):
            torch.ones(2) + torch.ones(3)

    def test_logs(self):
        with self.assertLogs(level="WARNING") as logs:
            logging.getLogger("torch.some.part").warning("heard")
        self.assertEqual(len(logs.output), 1)
        with self.assertNoLogs():
            logging.getLogger("other").warning("not torch's")

    def test_lines(self):
        self.assertEqual(self.remove_empty_lines("a\n\nb"), "a\nb")
        self.assertEqual(self.remove_comment_lines("a\n# b\nc"), "a\nc")


class BySuperTest(TestCase):
    """A class that extends what torch's has."""

    def genSparseTensor(self, *args, **kwargs):
        return super().genSparseTensor(*args, **kwargs)[0].coalesce()

    def check_nondeterministic_alert(self, fn, caller_name, should_alert=True):
        super().check_nondeterministic_alert(fn, caller_name, should_alert)
        self.checked = True

    def test_extended(self):
        self.assertTrue(self.genSparseTensor((3, 4), 2, 5, False, "cpu", torch.float32).is_coalesced())

    def test_extended_check(self):
        self.check_nondeterministic_alert(lambda: torch.ones(2) + 1, "add", should_alert=False)
        self.assertTrue(self.checked)


class SettingsTest(TestCase):
    _ignore_not_implemented_error = True

    def test_not_implemented(self):
        raise NotImplementedError("is a skip in this class")

    def test_not_implemented_is_expected(self):
        with self.assertRaises(RuntimeError):
            raise NotImplementedError("is a skip in this class, though expected is something else")

    def test_fails(self):
        self.assertEqual(1, 2)


class ComparisonSettingsTest(TestCase):
    precision = 0.5
    rel_tol = 0.0

    def test_within(self):
        self.assertEqual(1.0, 1.4)
        self.assertEqual(torch.ones(2), torch.full((2,), 1.5))

    def test_beyond(self):
        self.assertEqual(torch.ones(2), torch.full((2,), 1.6))

    def test_devices(self):
        self.assertEqual(torch.ones(1), torch.ones(1, device="meta"), exact_device=True)


class FilesTest(TestCase):
    def test_temporary(self):
        with TemporaryFileName() as name, TemporaryDirectoryName(suffix="d") as folder, set_cwd(folder):
            torch.save(torch.ones(1), name)
            self.assertEqual(torch.load(name), torch.ones(1))

    def test_bytes(self):
        with BytesIOContext() as stream:
            torch.save(torch.ones(1), stream)
            stream.seek(0)
            self.assertEqual(torch.load(stream), torch.ones(1))

    def test_skip_by_exception(self):
        with skip_exception_type(ZeroDivisionError):
            _ = 1 // 0

    def test_warn_always(self):
        with set_warn_always_context(True):
            self.assertTrue(torch.is_warn_always_enabled())

    @unittest.skipIf(sys.platform == "win32", "not there")
    def test_platform(self):
        self.assertFalse(torch.is_warn_always_enabled())


if __name__ == "__main__":
    run_tests()
