"""`run_tests` as it is used: real test files, real processes, exit statuses and journals."""

from __future__ import annotations

import contextlib
import io
import sys
import textwrap
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from torch_testing_shim._program import entry
from torch_testing_shim._program.log import TestLog
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import ROOT, SampleRun, SampleTestCase

#: One of everything that can happen to a test.
MIXED = """
    import os, unittest
    from torch_testing_shim.common_utils import TestCase, run_tests

    class TestA(TestCase):
        def test_error(self): raise ValueError("boom\\nmore of it")
        def test_fail(self): self.assertEqual([1, 2], [1, 3])
        def test_pass(self): print("printed by test_pass")
        def test_skip(self): self.skipTest("why not")
        def test_sub(self):
            for i in range(3):
                with self.subTest(i=i):
                    self.assertEqual(i, 1)
        @unittest.expectedFailure
        def test_xfail(self): self.fail()
        @unittest.expectedFailure
        def test_xpass(self): pass

    class TestBroken(TestCase):
        @classmethod
        def setUpClass(cls): raise RuntimeError("no set-up")
        def test_1(self): pass
        def test_2(self): pass

    @unittest.skip("whole class")
    class TestSkipped(TestCase):
        def test_1(self): pass

    class TestSkippedUnstarted(TestCase):
        def run(self, result):  # as Python 3.12.1 does what a decorator skips
            result.addSkip(self, "not started")
            result.stopTest(self)
        def test_1(self): pass

    class TestSkippedLater(TestCase):
        @classmethod
        def setUpClass(cls): raise unittest.SkipTest("later")
        def test_1(self): pass

    class TestTornDown(TestCase):
        def test_1(self): pass
        @classmethod
        def tearDownClass(cls): raise RuntimeError("no tear-down")
"""

#: Its outcomes, in whatever process the tests run.
MIXED_OUTCOMES = {
    "TestA.test_error": ("error", "ValueError: boom"),
    "TestA.test_fail": ("failed", "AssertionError: at item [1]: Scalars are not equal!"),
    "TestA.test_pass": ("passed", ""),
    "TestA.test_skip": ("skipped", "why not"),
    "TestA.test_sub": ("failed", "AssertionError: Scalars are not equal!"),
    "TestA.test_xfail": ("expected failure", ""),
    "TestA.test_xpass": ("unexpected success", "the test passed, though it is marked as an expected failure"),
    "TestSkipped.test_1": ("skipped", "whole class"),
    "TestSkippedUnstarted.test_1": ("skipped", "not started"),
    "TestSkippedLater.test_1": ("skipped", "later"),
}
FIXTURE_OUTCOMES = {
    "TestBroken.setUpClass": ("error", "RuntimeError: no set-up"),
    "TestBroken.test_1": ("error", "did not run, since TestBroken.setUpClass failed: RuntimeError: no set-up"),
    "TestBroken.test_2": ("error", "did not run, since TestBroken.setUpClass failed: RuntimeError: no set-up"),
    "TestTornDown.test_1": ("passed", ""),
    "TestTornDown.tearDownClass": ("error", "RuntimeError: no tear-down"),
}
#: pytest reports fixtures with the test that they belong to.
PYTEST_FIXTURE_OUTCOMES = {
    "TestBroken.test_1": ("error", "RuntimeError: no set-up"),
    "TestBroken.test_2": ("error", "RuntimeError: no set-up"),
    "TestTornDown.test_1": ("error", "RuntimeError: no tear-down"),
}

PASSING = """
    import os, signal
    from torch_testing_shim.common_utils import TestCase, instantiate_parametrized_tests, parametrize, run_tests

    class TestGood(TestCase):
        def test_a(self): pass
        def test_b(self): pass

    class TestOdd(TestCase):
        def test_dies(self): os.kill(os.getpid(), signal.SIGKILL)

    @instantiate_parametrized_tests
    class TestMany(TestCase):
        @parametrize("x", [1, 2])
        def test_x(self, x):
            with open(os.environ["COUNTER"], "a") as counter:
                counter.write(f"{x}\\n")
"""


class ProgramTestCase(SampleTestCase):
    """Runs a file that is written in full."""

    sample = ""

    def setUp(self) -> None:
        super().setUp()
        self.script = self.folder / "test_sample.py"
        self.write(self.sample)

    def write(self, source: str) -> None:
        self.script.write_text(textwrap.dedent(source) + '\nif __name__ == "__main__":\n    run_tests()\n')

    def run_file(self, *arguments: str, **variables: str) -> SampleRun:
        return self.run_command(str(self.script), *arguments, COUNTER=str(self.folder / "counter"), **variables)


def outcomes(run: SampleRun) -> dict[str, tuple[str, str]]:
    return {test: (entry.status.value, entry.reason) for test, entry in run.entries.items()}


class MixedTest(ProgramTestCase):
    """The same file, run in each way, comes to the same."""

    sample = MIXED

    def run_it(self, fixtures: dict[str, tuple[str, str]], *arguments: str) -> SampleRun:
        run = self.run_file(*arguments)
        self.assertEqual(1, run.exit_code, run.output)
        self.assertEqual({**MIXED_OUTCOMES, **fixtures}, outcomes(run))
        planned = sorted(test for test in {**MIXED_OUTCOMES, **FIXTURE_OUTCOMES} if ".test_" in test)
        self.assertEqual(planned, sorted(run.journal.planned))
        self.assertEqual(((), True), (run.journal.unfinished, run.journal.is_finished))
        return run

    def test_here(self) -> None:
        run = self.run_it(FIXTURE_OUTCOMES, "--save-xml", "reports", "--log-suffix=-2", "-v")
        details = {test: entry.detail for test, entry in run.entries.items()}
        self.assertIn("ValueError: boom\nmore of it\n", details["TestA.test_error"])
        self.assertIn("(i=0)\nTraceback", details["TestA.test_sub"])
        self.assertIn("(i=2)\nTraceback", details["TestA.test_sub"])
        self.assertEqual(details["TestA.test_pass"], "")
        self.assertNotIn("torch_testing_shim", run.output.replace(str(ROOT), "").replace(str(self.folder), ""))
        self.assertEqual(run.output.count(f'File "{self.script}"'), 6, run.output)
        self.assertIn(
            "FAILED (failures=3, errors=3, skipped=4, expected failures=1, unexpected successes=1)", run.output
        )
        suite = ElementTree.parse(self.folder / "reports-2" / "test_sample.xml").getroot()[0]
        counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
        self.assertEqual(counts, {"tests": "15", "failures": "3", "errors": "5", "skipped": "4"})

    def test_in_parallel_children(self) -> None:
        run = self.run_it(FIXTURE_OUTCOMES, "--run-parallel", "2", "--save-xml", "report.xml", "--log-suffix", ".2")
        counts = "2 passed, 2 failed, 6 error, 4 skipped, 1 expected failure, 1 unexpected success\n"
        self.assertTrue(run.output.endswith(counts), run.output)
        self.assertTrue((self.folder / "report.2.xml").is_file())

    def test_by_pytest(self) -> None:
        run = self.run_it(PYTEST_FIXTURE_OUTCOMES, "--use-pytest", "-v")
        self.assertNotIn("torch_testing_shim/_", run.output)


class ExitTest(ProgramTestCase):
    sample = """
        import sys
        from torch_testing_shim.common_utils import *

        class TestExits(TestCase):
            @classmethod
            def setUpClass(cls): sys.exit(0)
            def test_fails(self): self.fail()
    """

    def test_an_exit_outside_of_tests_is_no_pass(self) -> None:
        run = self.run_file()
        self.assertEqual(1, run.exit_code, run.output)
        self.assertIn("ERROR: sys.exit outside of a test\n--", run.output)


class SelectionAndStatusTest(ProgramTestCase):
    sample = PASSING

    def counted(self) -> list[str]:
        counter = self.folder / "counter"
        return counter.read_text().split() if counter.exists() else []

    def test_names_patterns_exclusions_and_repeat(self) -> None:
        chosen = ["TestMany", "TestGood", "-k", "test_x", "-k", "TestGood.*_a", "--exclude-test", "TestMany.test_x_x_1"]
        run = self.run_file(*chosen, "--repeat", "3")
        self.assertEqual(run.exit_code, 0, run.output)
        self.assertEqual(run.journal.planned, ("TestMany.test_x_x_2",))
        self.assertEqual(self.counted(), ["2", "2", "2"])

    def test_each_in_its_own_process(self) -> None:
        run = self.run_file("TestOdd.test_dies", "--subprocess")
        self.assertEqual(run.exit_code, 1, run.output)
        self.assertEqual(outcomes(run), {"TestOdd.test_dies": ("error", "its process ended with SIGKILL")})
        self.assertTrue(run.journal.is_finished)

    def test_discovery_runs_nothing(self) -> None:
        run = self.run_file("--discover-tests", "-k", "Many")
        self.assertEqual((run.output, run.exit_code), ("TestMany.test_x_x_1\nTestMany.test_x_x_2\n", 0))
        self.assertEqual(([], {}), (self.counted(), run.entries))
        self.assertEqual(("TestMany.test_x_x_1", "TestMany.test_x_x_2"), run.journal.planned)

    def test_lists_of_slow_and_disabled_tests(self) -> None:
        (self.folder / "slow_tests.json").write_text('{"test_a (__main__.TestGood)": 99.0}')
        (self.folder / "off.json").write_text('{"test_b (__main__.TestGood)": ["https://issues/7", []]}')
        run = self.run_file("--import-disabled-tests", "off.json", "TestGood", "--import-slow-tests")
        self.assertEqual(run.exit_code, 0, run.output)
        self.assertEqual(
            [entry.reason for entry in run.entries.values()],
            [
                "test is slow; set PYTORCH_TEST_WITH_SLOW=1 to run it",
                "test is disabled by https://issues/7",
            ],
        )

    def test_help_shows_both_kinds_of_options(self) -> None:
        run = self.run_file("-h")
        self.assertEqual(run.exit_code, 0)
        for option in ("--failfast", "-k PATTERN", "--save-xml", "--import-slow-tests", "--run-parallel", "--seed"):
            self.assertIn(option, run.output)


class SkipListTest(TestCase):
    def test_its_tests_are_left_out_and_logged_with_their_reason(self) -> None:
        log, told = TestLog(), io.StringIO()
        log.plan(["A.a", "A.b"])
        with contextlib.redirect_stderr(told):
            self.assertEqual(["A.b"], entry._leave_out(["A.a", "A.b"], {"A.a": "hangs"}, log))
        (logged,) = log.entries
        self.assertEqual(("A.a", TestStatus.SKIPPED, "hangs"), (logged.test, logged.status, logged.reason))
        self.assertEqual((["A.b"], "A.a ... skipped 'hangs'\n"), (log.never_ended, told.getvalue()))


class WrongUsageTest(ProgramTestCase):
    sample = PASSING

    def check(self, status: int, message: str, *arguments: str, **variables: str) -> None:
        run = self.run_file(*arguments, **variables)
        self.assertEqual(run.exit_code, status, run.output)
        self.assertIn(message, run.output)
        self.assertNotIn("Traceback", run.output)

    def test_unknown_test(self) -> None:
        self.check(2, "there is no test 'TestGood.test_aa'; did you mean TestGood.test_a", "TestGood.test_aa")

    def test_nothing_selected(self) -> None:
        self.check(5, "no test matches", "-k", "nowhere")

    def test_bad_variable(self) -> None:
        self.check(2, "PYTORCH_HYPOTHESIS_PROFILE is 'fast'; it must be one of", PYTORCH_HYPOTHESIS_PROFILE="fast")

    def test_bad_options(self) -> None:
        self.check(2, "--subprocess and --use-pytest cannot be combined", "--use-pytest", "--subprocess")
        self.check(2, "'0' is not a whole number from 1", "--repeat", "0")
        message = "--jit-executor is not supported: tests run with the executor of TorchScript that torch has chosen"
        self.check(2, message, "--jit_executor=legacy")
        self.check(2, "--test-bailouts is not supported: ", "--test-bailouts")

    def test_missing_list(self) -> None:
        self.check(2, "cannot read the list of tests", "--import-slow-tests", "nowhere.json")
        self.check(2, "--rerun-disabled-tests needs --import-disabled-tests", "--rerun-disabled-tests")

    def test_files_that_cannot_be_written(self) -> None:
        self.check(2, "cannot write the journal", TORCH_TESTING_SHIM_JOURNAL=str(self.folder / "no" / "journal"))
        self.check(2, "cannot write the report", "--save-xml", str(self.script / "report.xml"))

    def test_missing_packages(self) -> None:
        self.is_cold = True  # the server of samples may have imported them
        for package, option in (("junitparser", "--save-xml"), ("pytest", "--use-pytest")):
            (self.folder / f"{package}.py").write_text("raise ImportError('blocked')\n")
            self.check(2, f"{option} needs {package}, which is not installed", "TestGood", option)

    def test_no_tests(self) -> None:
        self.write("from torch_testing_shim.common_utils import run_tests")
        self.check(5, "there are no tests")
        self.write("from torch_testing_shim.common_utils import run_tests\ndef test_a(): pass")
        self.check(5, f"there are no tests in classes; pytest runs functions: python -m pytest {self.script}")


class FailfastTest(ProgramTestCase):
    sample = """
    from torch_testing_shim.common_utils import TestCase, run_tests

    class TestA(TestCase):
        def test_1(self): pass
        def test_2(self): self.fail("first")
        def test_3(self): self.fail("second")
    """

    def test_failfast(self) -> None:
        run = self.run_file("-f")
        self.assertEqual(run.exit_code, 1, run.output)
        self.assertEqual(list(run.entries), ["TestA.test_1", "TestA.test_2"])


if __name__ == "__main__":
    run_tests()
