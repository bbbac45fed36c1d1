"""The choice of tests by `hw_classification`: by a test file's own option, by run_test.py, by upstream's functions."""

from __future__ import annotations

import contextlib
import enum
import io
import sys
import textwrap
from pathlib import Path

from torch_testing_shim._shared.hardware import HardwareError, choose_by_hardware
from torch_testing_shim.common_utils import (
    HardwareClassification,
    TestCase,
    filter_by_hw_classification,
    get_hw_classification,
    run_tests,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import ROOT, SampleTestCase

FILE = """
    from torch_testing_shim.common_utils import HardwareClassification, TestCase, run_tests

    class TestCpu(TestCase):
        hw_classification = HardwareClassification.CPU
        def test_a(self): pass

    class TestBelow(TestCpu):
        def test_b(self): pass

    class TestShared(TestCase):
        hw_classification = HardwareClassification.GENERIC
        def test_c(self): pass

    class TestSilent(TestCase):
        def test_d(self): pass

    if __name__ == "__main__":
        run_tests()
"""
OF_CPU = ["TestBelow.test_a", "TestBelow.test_b", "TestCpu.test_a"]


class Cpu:
    hw_classification = HardwareClassification.CPU


class Cuda:
    hw_classification = HardwareClassification.CUDA


class HardwareTest(SampleTestCase):
    def run_python(self, *arguments: str) -> tuple[int, str]:
        """Exit status and output."""
        run = self.run_command(*arguments)
        return run.exit_code, run.output

    def file(self, text: str = FILE) -> Path:
        path = self.folder / "test" / "test_file.py"
        path.parent.mkdir()
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def test_classes_are_sorted_by_what_they_say(self) -> None:
        class Below(Cpu): ...

        class Torchs:
            hw_classification = enum.Enum("HardwareClassification", ["CPU", "CUDA"]).CPU

        choice = choose_by_hardware([Cpu, Cuda, Below, Torchs, TestCase, None], ["CPU"], lambda item: item)
        self.assertEqual((Cpu, Below, Torchs), choice.chosen)
        self.assertEqual((Cuda, TestCase, None), choice.left_out)
        self.assertExpectedInline(
            str(choice),
            """--hw-classification CPU: 3 tests left out, of classes 1 for other hardware and 2 that name none""",
        )

    def test_upstreams_functions(self) -> None:
        self.assertEqual(HardwareClassification.CPU, get_hw_classification(Cpu))
        self.assertIsNone(get_hw_classification(TestCase))
        matching: list[type] = []
        with contextlib.redirect_stdout(io.StringIO()) as output:
            wanted = {HardwareClassification.CUDA}
            filter_by_hw_classification([Cpu, Cuda, int], wanted, lambda item: item, on_match=matching.append)
        self.assertEqual([Cuda], matching)
        self.assertIn("2 tests left out", output.getvalue())

    def test_what_is_no_classification_is_refused(self) -> None:
        class Wrong:
            hw_classification = "cpu"

        with self.assertRaisesRegex(HardwareError, r"Wrong must be a HardwareClassification, not 'cpu'$"):
            get_hw_classification(Wrong)
        self.assertTrue(issubclass(HardwareError, TypeError))  # which upstream raises

    def test_a_file_runs_the_classes_that_are_named(self) -> None:
        path = str(self.file())
        status, output = self.run_python(path, "--hw-classification", "cpu", "--discover-tests")
        listed = [line for line in output.splitlines() if "left out" not in line]  # from another stream
        self.assertEqual((0, OF_CPU), (status, listed))
        self.assertIn("2 tests left out, of classes 1 for other hardware and 1 that name none", output)
        status, output = self.run_python(path, "--hw-classification=CPU", "--use-pytest")
        self.assertEqual((0, False), (status, "TestSilent" in output), output)
        status, output = self.run_python(path, "--hw-classification", "MPS")
        self.assertEqual((5, True), (status, "no test matches" in output))
        status, output = self.run_python(path, "--hw-classification", "ruby")
        self.assertEqual((2, True), (status, "invalid choice: 'RUBY'" in output))

    def test_a_wrong_classification_ends_the_run_with_one_sentence(self) -> None:
        path = str(self.file(FILE.replace("HardwareClassification.GENERIC", "'generic'")))
        status, output = self.run_python(path, "--hw-classification", "CPU")
        sentence = "hw_classification of __main__.TestShared must be a HardwareClassification, not 'generic'\n"
        self.assertEqual((2, sentence), (status, output))

    def test_run_test_tells_how_many_it_left_out(self) -> None:
        path = self.file()
        Path(path.parent, "test_other.py").write_text(path.read_text().replace(".CPU", ".XPU"), encoding="utf-8")
        runner = Path(path.parents[1], "run_test.py")
        runner.write_text((ROOT / "run_test.py").read_text(), encoding="utf-8")
        status, output = self.run_python(str(runner), "--hw-classification", "CPU")
        self.assertEqual(0, status, output)
        self.assertIn("test_other  no tests", output)
        self.assertIn("left out by --hw-classification: 7 tests of 2 files\n3 passed, 0 failed, 0 skipped\n", output)
        status, output = self.run_python(str(runner), "--dry-run", "--hw-classification", "cpu", "XPU", "-k", "a")
        self.assertIn("-k a --hw-classification=CPU --hw-classification=XPU", output)


if __name__ == "__main__":
    run_tests()
