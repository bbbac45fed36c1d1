"""`python -m torch_testing_shim --pytest`, and files that only pytest runs, as a user would run them."""

import re
import sys
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

CONFTEST = """
import pytest
from torch.testing._internal import common_utils

@pytest.fixture(scope="class")
def number():
    assert common_utils.__name__ == "torch_testing_shim.common_utils"
    return 2
"""
HELPERS = """
from torch.testing._internal.common_distributed import MultiProcessTestCase

class Ranks(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()
"""
#: In a package, with what its conftest.py has and a child of multiprocessing's.
FILE = """
import multiprocessing
import sys
import pytest
import torch
from .helpers import Ranks

def ask(answers):
    from torch.testing._internal import common_utils
    answers.put((common_utils.__name__, torch.ones(1, device="cuda").device.type))

@pytest.mark.parametrize("half", [0.5, 1.0])
def test_function(half, number):
    assert half * number in (1, 2)

def test_spawned_child():
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    child = context.Process(target=ask, args=(answers,))
    child.start()
    assert answers.get() == ("torch_testing_shim.common_utils", "cpu")
    child.join()

class TestOfRanks(Ranks):
    def test_device(self):
        assert torch.ones(1, device="cuda").device.type == "cpu"
        assert sys.modules["torch.testing._internal.common_distributed"].__name__.startswith("torch_testing_shim.")

    def test_wrong(self):
        if self.rank == 1:
            assert [1, 2] == [1, 3]
"""
#: A failure of ranks under pytest: nothing of the harness, the guilty rank first.
REPORT = r"""
_+ TestOfRanks.test_wrong _+
(\[gw\d\] .*
)?
rank 1 failed: AssertionError: assert \[1, 2\] == \[1, 3\]

rank 1:
Traceback \(most recent call last\):
  File "{path}", line \d+, in test_wrong
    assert \[1, 2\] == \[1, 3\]
AssertionError: assert \[1, 2\] == \[1, 3\]
"""
RERUN = r"To run this test again:\n +(?:\w+=\w+ )*python (.*)"


class ByPytest(SampleTestCase):
    def setUp(self):
        super().setUp()
        self.package = self.folder / "package"
        self.package.mkdir()
        for name, text in (
            ("__init__.py", ""),
            ("conftest.py", CONFTEST),
            ("helpers.py", HELPERS),
            ("test_file.py", FILE),
        ):
            (self.package / name).write_text(text)

    def run_harness(self, *arguments, **extra):
        return self.run_command("-m", "torch_testing_shim", *arguments, TORCH_TESTING_SHIM_JOURNAL="", **extra)

    def test_worker_reports_and_the_command_of_a_failure(self):
        mapped = ("--map-device", "cuda=cpu", "--pytest", "-p", "no:cacheprovider")
        run = self.run_harness(*mapped, "-n", "1", "--junitxml", "report.xml", "package")
        self.assertEqual(1, run.exit_code, run.output)
        self.assertIn("1 failed, 4 passed", run.output)
        self.assertIn("torch_testing_shim: mapped: cuda was cpu\n", run.output)
        self.assertRegex(run.output, REPORT.format(path=self.package / "test_file.py"))
        self.assertNotIn("torch_testing_shim/_", run.output)
        self.assertIn('tests="5"', (self.folder / "report.xml").read_text())
        again = re.search(RERUN, run.output).group(1)
        self.assertIn("--map-device cuda=cpu --pytest package/test_file.py::TestOfRanks::test_wrong", again)
        run = self.run_command(*again.split(), "-q", TORCH_TESTING_SHIM_START_METHOD="spawn")
        self.assertEqual(1, run.exit_code, run.output)
        self.assertRegex(run.output, REPORT.format(path=self.package / "test_file.py"))
        self.assertIn("FAILED package/test_file.py::TestOfRanks::test_wrong - rank 1 failed: ", run.output)
        self.assertEqual([], self.processes_of_sample())

    def test_pytests_own_options_and_statuses(self):
        for arguments, status, said in (
            (("-x", "-k", "wrong or function", "-p", "no:randomly"), 1, "1 failed, 2 passed"),
            (("--matching", "half and ("), 4, "half and"),
            (("--matching", "*.test_f*", "--exclude-test", "test_function[0.5]", "-v"), 0, r"1 passed, 4 deselected"),
        ):
            with self.subTest(arguments):
                run = self.run_harness("--pytest", "-p", "no:cacheprovider", *arguments, "package/test_file.py")
                self.assertEqual(status, run.exit_code, run.output)
                self.assertRegex(run.output, said)
                self.assertNotIn('Traceback (most recent call last):\n  File "<frozen', run.output)

    def test_a_file_that_would_run_nothing_says_so(self):
        (self.folder / "test_plain.py").write_text("raise SystemExit('was run')\ndef test_a(fixture): pass\n")
        for path, why in (("package/test_file.py", "has relative imports"), ("test_plain.py", "has no main part")):
            run = self.run_harness(path)
            self.assertEqual(5, run.exit_code, run.output)
            self.assertRegex(run.output, rf"^\S+{path} {why}, .*: python -m torch_testing_shim --pytest \S+{path}\n$")

    def test_a_file_that_ends_in_unittest_main(self):
        (self.folder / "test_unittest.py").write_text(
            "import unittest\nfrom torch.testing._internal.common_utils import TestCase\n"
            "class Of(TestCase):\n    def test_a(self): self.assertEqual(1, 2)\n"
            "if __name__ == '__main__':\n    unittest.main()\n"
        )
        run = self.run_harness("test_unittest.py")
        self.assertEqual(1, run.exit_code, run.output)
        self.assertIn("FAILED (failures=1)", run.output)


class WithoutPytest(SampleTestCase):
    is_cold = True  # the server of samples may have imported pytest

    def test_says_so(self):
        (self.folder / "pytest.py").write_text("raise ImportError('blocked')\n")
        run = self.run_command("-m", "torch_testing_shim", "--pytest", "package")
        self.assertEqual((2, "--pytest needs pytest, which is not installed\n"), (run.exit_code, run.output))


if __name__ == "__main__":
    run_tests()
