"""pytest with the plugin: which tests `--hw-classification` leaves out, beside a conftest with the same option, too."""

from __future__ import annotations

import textwrap

from harness_samples import SampleTestCase

from torch_testing_shim.common_utils import run_tests

FILE = """
    import unittest
    from torch_testing_shim._shared.hardware import HardwareClassification

    class TestCpu(unittest.TestCase):
        hw_classification = HardwareClassification.CPU
        def test_a(self): pass

    class TestXpu(unittest.TestCase):
        hw_classification = HardwareClassification.XPU
        def test_b(self): pass

    def test_of_no_class(): pass
"""
#: As PyTorch's own conftest has it.
CONFTEST = """
    def pytest_addoption(parser):
        parser.addoption("--hw-classification", nargs="+", type=str.upper)

    def pytest_collection_modifyitems(config, items):
        print("the conftest's:", config.getoption("hw_classification"))
"""


class PluginTest(SampleTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write("test_file.py", FILE)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(textwrap.dedent(text), encoding="utf-8")

    def run_pytest(self, *arguments: str, **extra: str) -> tuple[int, str]:
        """Exit status and output."""
        run = self.run_command("-m", "pytest", "-p", "torch_testing_shim.pytest_plugin", "-v", *arguments, **extra)
        return run.exit_code, run.output

    def test_only_classes_that_say_a_name_run_and_the_others_are_counted(self) -> None:
        status, output = self.run_pytest("test_file.py", "--hw-classification", "cpu", "CUDA")
        self.assertEqual(0, status, output)
        self.assertIn("3 items / 2 deselected / 1 selected", output)
        self.assertIn("CPU CUDA: 2 tests left out, of classes 1 for other hardware and 1 that name none", output)
        self.assertIn("TestCpu::test_a PASSED", output)

    def test_marks_of_the_harness_and_tests_to_omit(self) -> None:
        marked = """
            from torch_testing_shim.common_utils import TestCase, requires_multigpu, serialTest
            import unittest

            @requires_multigpu
            class TestMany(TestCase):
                def test_a(self): pass

            class TestOne(TestCase):
                @requires_multigpu
                def test_b(self): pass
                @serialTest()
                def test_c(self): pass
                @unittest.skip("why")
                def test_d(self): pass
        """
        self.write("test_file.py", marked)
        chosen = ("--collect-only", "-q", "-m", "multigpu or not serial")
        _, output = self.run_pytest(*chosen, PYTORCH_TEST_OMIT_SKIPPED="1")
        found = [test for test in "abcd" if f"test_{test}" in output]
        self.assertEqual((["a", "b"], False), (found, "Warning" in output), output)

    def test_without_the_option_all_run(self) -> None:
        status, output = self.run_pytest("test_file.py")
        self.assertEqual((0, True), (status, "3 passed" in output), output)

    def test_wrong_names_and_values_are_usage_errors(self) -> None:
        status, output = self.run_pytest("--hw-classification=ruby")
        self.assertEqual((4, True), (status, "invalid choice: 'RUBY'" in output), output)
        self.write("test_file.py", FILE.replace("HardwareClassification.XPU", "5"))
        status, output = self.run_pytest("--hw-classification=cpu")
        self.assertEqual((4, True), (status, "TestXpu must be a HardwareClassification, not 5" in output), output)

    def test_a_conftests_own_option_holds(self) -> None:
        self.write("conftest.py", CONFTEST)
        status, output = self.run_pytest("-s", "--hw-classification=mps")
        self.assertEqual((0, True), (status, "the conftest's: ['MPS']" in output), output)
        self.assertIn("3 passed", output)


if __name__ == "__main__":
    run_tests()
