"""`run_test.py --upstream` of files that pytest runs: what becomes of their tests, by the real command."""

import re
import sys
from pathlib import Path

from junitparser import JUnitXml

from torch_testing_shim._program.pytest_journal import name_of_node
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import ROOT, SampleTestCase

FILE = """
import os
import signal
import unittest
from pathlib import Path

import pytest
import torch
from torch.testing._internal.common_distributed import MultiProcessTestCase
from torch.testing._internal.common_utils import TestCase

@pytest.fixture(scope="class")
def broken():
    raise RuntimeError("no fixture")

@pytest.fixture
def torn():
    yield
    raise RuntimeError("torn")

@pytest.mark.parametrize("text", ["a", "b::c", "1.5"])
def test_parameters(text):
    assert text != "b::c"

def test_skips():
    pytest.skip("not today")

@pytest.mark.skip(reason="marked")
def test_is_skipped(): pass

@pytest.mark.xfail(reason="known")
def test_xfail():
    assert 0

@pytest.mark.xfail(reason="known", strict=True)
def test_xpass_strict(): pass

@pytest.mark.xfail(reason="known")
def test_xpass(): pass

def test_torn_down(torn): pass

def test_fails():
    pytest.fail("on purpose")

def test_raises():
    print("printed before")
    raise ValueError("boom")

def test_dies():
    os.kill(os.getpid(), signal.SIGKILL)

class TestFixture:
    def test_a(self, broken): pass
    def test_b(self, broken): pass

    class TestInner:
        def test_c(self): pass

class TestRanks(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_passes(self): pass

    def test_wrong(self):
        if self.rank == 1:
            assert [1] == [2]

class TestSubtests(TestCase):
    def test_sub(self):
        for i in range(2):
            with self.subTest(i=i):
                self.assertEqual(i, 0)

class TestSkippedLater(TestCase):
    @classmethod
    def setUpClass(cls):
        raise unittest.SkipTest("later")

    def test_a(self): pass

class TestLate:
    def test_passes_when_it_runs_again(self):
        been = Path(__file__).with_name("been")
        if not been.exists():
            been.touch()
            raise OSError("first")
"""
#: How each test ends, as its JUnit report has it, and the beginning of the reason.
OUTCOMES = {
    "test_parameters[a]": ("passed", ""),
    "test_parameters[b::c]": ("Failure", "AssertionError: assert 'b::c' != 'b::c'"),
    "test_parameters[1.5]": ("passed", ""),
    "test_skips": ("Skipped", "not today"),
    "test_is_skipped": ("Skipped", "marked"),
    "test_xfail": ("passed", ""),
    "test_xpass_strict": ("Failure", "the test passed, though it is marked as an expected failure"),
    "test_xpass": ("passed", ""),
    "test_torn_down": ("Error", "RuntimeError: torn"),
    "test_fails": ("Failure", "Failed: on purpose"),
    "test_raises": ("Error", "ValueError: boom"),
    "test_dies": ("Error", "the file's process ended with SIGKILL while this test ran"),
    "TestFixture.test_a": ("Error", "RuntimeError: no fixture"),
    "TestFixture.test_b": ("Error", "RuntimeError: no fixture"),
    "TestFixture.TestInner.test_c": ("passed", ""),
    "TestRanks.test_passes": ("passed", ""),
    "TestRanks.test_wrong": ("Failure", "rank 1 failed: AssertionError: assert [1] == [2]"),
    "TestSubtests.test_sub": ("Failure", "AssertionError: Scalars are not equal!"),
    "TestSkippedLater.test_a": ("Skipped", "later"),
    "TestLate.test_passes_when_it_runs_again": ("Error", "OSError: first"),
}
NOT_IMPORTABLE = "import torch\nraise ValueError('not importable')\ndef test_a(): pass\n"
SKIPS_ITSELF = "import torch\nimport pytest\npytest.importorskip('no_such_module')\ndef test_a(): pass\n"
#: As many of PyTorch's files end, and as others end in nothing.
UNITTEST = "import unittest\nclass Of(unittest.TestCase):\n    def test_a(self): pass\n"
FILES = {
    "test_file": FILE,
    "test_not_importable": NOT_IMPORTABLE,
    "test_skips_itself": SKIPS_ITSELF,
    "test_unittest": f"{UNITTEST}if __name__ == '__main__':\n    unittest.main()\n",
    "test_without_main": UNITTEST,
}
RERUN = r"(?m)^To run this test again:\n    (?:\w+=\S+ )*\S*python (-m torch_testing_shim --pytest \S+)$"


class ByRunner(SampleTestCase):
    def setUp(self):
        super().setUp()
        self.tests = self.folder / "tests"
        self.tests.mkdir()
        for name, text in FILES.items():
            (self.tests / f"{name}.py").write_text(text)

    def run_test(self, *arguments):
        command = (str(ROOT / "run_test.py"), "--upstream", "tests", "--keep-going", *arguments)
        return self.run_command(*command, TORCH_TESTING_SHIM_JOURNAL="")

    def junit(self, folder):
        """How each test of `test_file` ended, by its report."""
        (path,) = folder.glob("test_file/*.xml")
        found = {}
        for suite in JUnitXml.fromfile(str(path)):
            for case in suite:
                name = ".".join([*case.classname.split(".")[1:], case.name])
                found[name] = next(((type(one).__name__, one.message) for one in case.result), ("passed", ""))
        return found

    def test_every_kind_of_end_warm(self):
        run = self.run_test("--save-xml", str(self.folder / "xml"), "--why-skipped")
        self.assertEqual(1, run.exit_code, run.output)
        found = self.junit(self.folder / "xml")
        self.assertEqual(OUTCOMES.keys(), found.keys(), run.output)
        for test, (kind, reason) in OUTCOMES.items():
            self.assertEqual((test, kind, reason), (test, found[test][0], found[test][1][: len(reason)]))
        for line in (
            "ERROR  test_not_importable::setUpModule  ValueError: not importable",
            "test_skips_itself  1 skipped",
            "test_unittest  1 passed",
            "test_without_main  1 passed",
            "CRASHED  test_file::test_dies  the file's process ended with SIGKILL while this test ran",
        ):
            self.assertIn(f"\n{line}", run.output)
        self.assertIn("could not import 'no_such_module'", run.output)
        self.assertRegex(run.output, r"E +ValueError: boom\n\n.*\n\nCaptured stdout call:\nprinted before\n\nTo run")
        again = re.findall(RERUN, run.output)
        self.assertIn("-m torch_testing_shim --pytest tests/test_file.py::TestRanks::test_wrong", again)
        parameters = next(command for command in again if "test_parameters" in command)
        run = self.run_command(*parameters.replace("'", "").split())
        self.assertEqual(1, run.exit_code, run.output)
        self.assertRegex(run.output, r"\b1 failed(, \d+ warnings?)? in ")  # of modules that the fork had imported
        self.assert_nothing_left_but_pytests()

    def test_choices_by_the_runners_own_words_cold(self):
        chosen = ("-k", "*.test_parameters*", "-k", "inner or skipped", "-x", "test_file::test_parameters[b::c]")
        run = self.run_test(*chosen, "-i", "test_file", "--cold", "--", "-n", "1")
        self.assertEqual(0, run.exit_code, run.output)
        self.assertIn("test_file  3 passed, 2 skipped", run.output)

    def test_a_part_run_again(self):
        flaky = "test_file::TestLate.test_passes_when_it_runs_again"
        part = ("test_file::test_parameters[1.5]", "test_file::TestFixture.TestInner")
        run = self.run_test("-i", flaky, *part, "test_unittest::no_such_test", "--retries", "1")
        self.assertEqual(2, run.exit_code, run.output)
        self.assertIn(f"\nFLAKY  {flaky}  passed when it was run again; at first: OSError: first", run.output)
        self.assertIn("test_file  3 passed", run.output)
        self.assertRegex(run.output, r"ended with exit status 4 .*: ERROR: not found: \S+::no_such_test")

    def assert_nothing_left_but_pytests(self):
        self.assertEqual([], self.processes_of_sample())
        left = [path.name for path in (self.folder / "tmp").iterdir()]
        self.assertEqual([], [name for name in left if not name.startswith(("torchinductor_", "pytest-of-"))])


OWN_FUNCTIONS = """
import pytest
import torch.distributed as dist

@pytest.mark.ranks([1, 2])
def test_group(process_group, world_size):
    assert dist.get_world_size() == world_size

@pytest.mark.ranks(2)
def test_fails_in_one(rank):
    assert rank == 0
"""
OWN_CLASSES = """
from torch_testing_shim.common_utils import TestCase, run_tests

class OfClass(TestCase):
    def test_a(self): pass

if __name__ == "__main__":
    run_tests()
"""


class OwnFiles(SampleTestCase):
    """Files of the tree's own: those that run nothing as scripts are run by pytest, beside the others."""

    def test_functions_and_classes_in_one_run(self):
        tests = self.folder / "tests"
        tests.mkdir()
        (tests / "test_functions.py").write_text(OWN_FUNCTIONS)
        (tests / "test_classes.py").write_text(OWN_CLASSES)
        runner = (
            "-c",
            "from torch_testing_shim._runner.cli.console import main; raise SystemExit(main())",
            "run",
            "tests",
        )
        run = self.run_command(*runner, "--keep-going", TORCH_TESTING_SHIM_JOURNAL="")
        self.assertEqual(1, run.exit_code, run.output)
        failed = "FAILED  test_functions::test_fails_in_one  rank 1 failed: AssertionError: assert 1 == 0\n"
        for line in ("test_classes  1 passed", "test_functions  2 passed, 1 failed", failed, "E       assert 1 == 0\n"):
            self.assertIn(line, run.output)
        self.assertIn("test_functions.py::test_fails_in_one\n", run.output)


class Names(TestCase):
    def test_of_nodes(self):
        for node, name in (
            ("a/test_x.py::test_a", "test_a"),
            ("test_x.py::A::B::test_a[1.5-b::c]", "A.B.test_a[1.5-b::c]"),
            ("a/test_x.py", "setUpModule"),
            ("test_x.py::A", "A"),
        ):
            self.assertEqual(name, name_of_node(node))


if __name__ == "__main__":
    run_tests()
