"""`run_tests` as it is used: real test files, real processes, exit statuses and journals."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import runpy
import signal
import sys
import tempfile
import textwrap
import time
import traceback
import unittest
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from unittest import mock

from torch_testing_shim._program import entry
from torch_testing_shim._program.log import TestLog
from torch_testing_shim._shared.journal import JournalContents, TestStatus
from torch_testing_shim._shared.journal_reading import read_journal
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase, wait_until
from usual_signals import take_usual_signals

ROOT = Path(__file__).resolve().parents[3]
#: How long a process may take to come to a certain point, in seconds, on a machine that is busy.
PATIENCE = 60

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

    class TestSkippedLater(TestCase):
        @classmethod
        def setUpClass(cls): raise unittest.SkipTest("later")
        def test_1(self): pass

    class TestTornDown(TestCase):
        def test_1(self): pass
        @classmethod
        def tearDownClass(cls): raise RuntimeError("no tear-down")
"""

#: What becomes of it, in whatever process the tests run.
MIXED_OUTCOMES = {
    "TestA.test_error": ("error", "ValueError: boom"),
    "TestA.test_fail": ("failed", "AssertionError: at item [1]: Scalars are not equal!"),
    "TestA.test_pass": ("passed", ""),
    "TestA.test_skip": ("skipped", "why not"),
    "TestA.test_sub": ("failed", "AssertionError: Scalars are not equal!"),
    "TestA.test_xfail": ("expected failure", ""),
    "TestA.test_xpass": ("unexpected success", "the test passed, though it is marked as an expected failure"),
    "TestSkipped.test_1": ("skipped", "whole class"),
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
    from torch_testing_shim.common_utils import *

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


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    returncode: int
    stdout: str
    stderr: str


def run_as_main(argv: list[str]) -> NoReturn:
    """Does what `python ...` does, and ends the process."""
    status = 1
    try:
        sys.argv = argv
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        runpy.run_path(argv[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


@unittest.skipUnless(hasattr(os, "fork"), "the runs are forks of this process")
class ProgramTestCase(TestCase):
    """Has a folder of its own in which sample files are run."""

    sample = ""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.script = self.folder / "test_sample.py"
        self.write(self.sample)

    def write(self, source: str) -> None:
        self.script.write_text(textwrap.dedent(source) + '\nif __name__ == "__main__":\n    run_tests()\n')

    def environment(self, **variables: str) -> dict[str, str]:
        own = (
            "PYTORCH_",
            "TORCH_TESTING_SHIM_",
            "DISTRIBUTED_TESTS_",
            "SLOW_TESTS",
            "DISABLED_TESTS",
            "EXPECTTEST_",
            "CI",
        )
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        mine = {
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TORCH_TESTING_SHIM_JOURNAL": str(self.folder / "journal"),
            "COUNTER": str(self.folder / "counter"),
        }
        return {**inherited, **mine, **variables}

    def run_warm(self, *arguments: str, blocked: tuple[str, ...] = (), **variables: str) -> Ended:
        """Runs the sample in a fork of this process, which has torch imported: as by a command, and much faster.

        Args:
            blocked: modules that cannot be imported there, as where they are not installed.
        """
        return self.finish(self.start_warm(*arguments, blocked=blocked, **variables))

    def start_warm(self, *arguments: str, blocked: tuple[str, ...] = (), **variables: str) -> int:
        """Starts what `run_warm` runs; returns its process id."""
        (self.folder / "journal").unlink(missing_ok=True)
        pid = os.fork()
        if pid == 0:
            take_usual_signals()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.chdir(self.folder)
            for descriptor, name in enumerate(("stdout", "stderr"), start=1):
                os.dup2(os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
            os.environ.clear()
            os.environ.update(self.environment(**variables))
            sys.modules.update(dict.fromkeys(blocked))  # type: ignore[arg-type]
            run_as_main([str(self.script), *arguments])
        return pid

    def finish(self, pid: int) -> Ended:
        _, status = os.waitpid(pid, 0)
        outputs = [(self.folder / name).read_text() for name in ("stdout", "stderr")]
        return Ended(os.waitstatus_to_exitcode(status), *outputs)

    @property
    def journal(self) -> JournalContents:
        return read_journal(self.folder / "journal")

    def outcomes(self) -> dict[str, tuple[str, str]]:
        return {entry.test: (entry.status.value, entry.reason) for entry in self.journal.entries}


class MixedTest(ProgramTestCase):
    """The same file, run in each way, comes to the same."""

    sample = MIXED

    def check(self, fixtures: dict[str, tuple[str, str]]) -> None:
        self.assertEqual(self.outcomes(), {**MIXED_OUTCOMES, **fixtures})
        self.assertEqual(
            sorted(self.journal.planned), sorted(t for t in {**MIXED_OUTCOMES, **FIXTURE_OUTCOMES} if ".test_" in t)
        )
        self.assertEqual((self.journal.unfinished, self.journal.is_finished, self.journal.broken_lines), ((), True, 0))

    def test_here(self) -> None:
        done = self.run_warm("--save-xml", "reports", "--log-suffix=-2", "-v")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.check(FIXTURE_OUTCOMES)
        details = {entry.test: entry.detail for entry in self.journal.entries}
        self.assertIn("ValueError: boom\nmore of it\n", details["TestA.test_error"])
        self.assertIn("(i=0)\nTraceback", details["TestA.test_sub"])
        self.assertIn("(i=2)\nTraceback", details["TestA.test_sub"])
        self.assertEqual(details["TestA.test_pass"], "")
        self.assertNotIn("torch_testing_shim", done.stderr.replace(str(ROOT), "").replace(tempfile.gettempdir(), ""))
        self.assertEqual(done.stderr.count(f'File "{self.script}"'), 6, done.stderr)
        self.assertIn(
            "FAILED (failures=3, errors=3, skipped=3, expected failures=1, unexpected successes=1)", done.stderr
        )
        suite = ElementTree.parse(self.folder / "reports-2" / "test_sample.xml").getroot()[0]
        counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
        self.assertEqual(counts, {"tests": "14", "failures": "3", "errors": "5", "skipped": "3"})

    def test_in_parallel_children(self) -> None:
        done = self.run_warm("--run-parallel", "2", "--save-xml", "report.xml", "--log-suffix", ".2")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.check(FIXTURE_OUTCOMES)
        self.assertTrue(
            done.stderr.endswith("2 passed, 2 failed, 6 error, 3 skipped, 1 expected failure, 1 unexpected success\n"),
            done.stderr,
        )
        self.assertTrue((self.folder / "report.2.xml").is_file())

    def test_by_pytest(self) -> None:
        done = self.run_warm("--use-pytest", "-v")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.check(PYTEST_FIXTURE_OUTCOMES)
        self.assertNotIn("torch_testing_shim/_", done.stdout)


class SelectionAndStatusTest(ProgramTestCase):
    sample = PASSING

    def counted(self) -> list[str]:
        counter = self.folder / "counter"
        return counter.read_text().split() if counter.exists() else []

    def test_names_patterns_exclusions_and_repeat(self) -> None:
        chosen = ["TestMany", "TestGood", "-k", "test_x", "-k", "TestGood.*_a", "--exclude-test", "TestMany.test_x_x_1"]
        done = self.run_warm(*chosen, "--repeat", "3")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.journal.planned, ("TestMany.test_x_x_2",))
        self.assertEqual(self.counted(), ["2", "2", "2"])

    def test_each_in_its_own_process(self) -> None:
        done = self.run_warm("TestOdd.test_dies", "--subprocess")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(self.outcomes(), {"TestOdd.test_dies": ("error", "its process ended with SIGKILL")})
        self.assertTrue(self.journal.is_finished)

    def test_discovery_runs_nothing(self) -> None:
        done = self.run_warm("--discover-tests", "-k", "Many")
        self.assertEqual((done.stdout, done.returncode), ("TestMany.test_x_x_1\nTestMany.test_x_x_2\n", 0), done.stderr)
        self.assertEqual(([], ()), (self.counted(), self.journal.entries))
        self.assertEqual(("TestMany.test_x_x_1", "TestMany.test_x_x_2"), self.journal.planned)

    def test_lists_of_slow_and_disabled_tests(self) -> None:
        (self.folder / "slow_tests.json").write_text('{"test_a (__main__.TestGood)": 99.0}')
        (self.folder / "off.json").write_text('{"test_b (__main__.TestGood)": ["https://issues/7", []]}')
        done = self.run_warm("--import-disabled-tests", "off.json", "TestGood", "--import-slow-tests")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(
            [reason for _, reason in self.outcomes().values()],
            [
                "test is slow; set PYTORCH_TEST_WITH_SLOW=1 to run it",
                "test is disabled by https://issues/7",
            ],
        )

    def test_help_shows_both_kinds_of_options(self) -> None:
        done = self.run_warm("-h")
        self.assertEqual(done.returncode, 0)
        for option in (
            "--failfast",
            "--buffer",
            "-k PATTERN",
            "--save-xml",
            "--import-slow-tests",
            "--run-parallel",
            "--seed",
        ):
            self.assertIn(option, done.stdout)


class SkipListTest(TestCase):
    def test_its_tests_are_left_out_and_logged_with_their_reason(self) -> None:
        log, told = TestLog(), io.StringIO()
        log.plan(["A.a", "A.b"])
        with contextlib.redirect_stderr(told):
            self.assertEqual(["A.b"], entry._leave_out(["A.a", "A.b"], {"A.a": "hangs"}, log))
        (logged,) = log.entries
        self.assertEqual(("A.a", TestStatus.SKIPPED, "hangs"), (logged.test, logged.status, logged.reason))
        self.assertEqual((["A.b"], "A.a ... skipped 'hangs'\n"), (log.never_ended, told.getvalue()))


class LastCollectionTest(TestCase):
    def test_it_is_left_out_unless_nanobind_would_list_what_it_leaves(self) -> None:
        def calls() -> list[str]:
            with mock.patch.object(entry, "gc") as collector:
                entry._settle_last_collection()
            return [call[0] for call in collector.method_calls]

        kinds = {kind.__name__ for kind in type.__subclasses__(type)}
        if not any(name.startswith("nb_type") for name in kinds):
            self.assertEqual(["freeze"], calls())
        kind = type("nb_type_0", (type,), {})
        self.assertEqual(["unfreeze"], calls())
        del kind
        gc.collect()


class WrongUsageTest(ProgramTestCase):
    sample = PASSING

    def check(
        self, status: int, message: str, *arguments: str, blocked: tuple[str, ...] = (), **variables: str
    ) -> None:
        done = self.run_warm(*arguments, blocked=blocked, **variables)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn(message, done.stderr)
        self.assertNotIn("Traceback", done.stderr)

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
        message = "--save-xml needs junitparser, which is not installed"
        self.check(2, message, "TestGood", "--save-xml", blocked=("junitparser",))
        message = "--use-pytest needs pytest, which is not installed"
        self.check(2, message, "TestGood", "--use-pytest", blocked=("pytest", "_pytest"))

    def test_no_tests(self) -> None:
        self.write("from torch_testing_shim.common_utils import run_tests")
        self.check(5, "there are no tests")
        self.write("from torch_testing_shim.common_utils import run_tests\ndef test_a(): pass")
        self.check(5, f"there are no tests in classes; pytest runs functions: python -m pytest {self.script}")


class StoppingTest(ProgramTestCase):
    sample = """
    import os, time
    from torch_testing_shim.common_utils import TestCase, run_tests

    class TestA(TestCase):
        def test_1(self):
            open("ran", "w").close()
            print("out", end="")
        def test_2(self): self.fail("first")
        def test_3(self): self.fail("second")

    class TestB(TestCase):
        def test_waits(self):
            while not os.path.exists("ran"):  # in a process beside this one, which is not to be struck while it imports
                time.sleep(0.01)
            print("waiting", flush=True)
            time.sleep(600)
    """

    def test_failfast(self) -> None:
        done = self.run_warm("-f")
        self.assertEqual((done.returncode, done.stdout), (1, "out"), done.stderr)
        self.assertEqual(list(self.outcomes()), ["TestA.test_1", "TestA.test_2"])

    def interrupted(self, *arguments: str) -> tuple[int, str]:
        """Exit status and errors of a run that gets a Ctrl-C once `test_waits` waits."""
        pid = self.start_warm("TestA.test_1", "TestB", *arguments)
        said = self.folder / "stdout"
        is_waiting = wait_until(lambda: said.exists() and "waiting" in said.read_text(), PATIENCE)
        os.kill(pid, signal.SIGINT if is_waiting else signal.SIGKILL)
        ended = self.finish(pid)
        self.assertTrue(is_waiting, ended.stderr)
        return ended.returncode, ended.stderr

    def test_ctrl_c(self) -> None:
        status, errors = self.interrupted()
        self.assertEqual(status, 130, errors)
        self.assertTrue(errors.endswith("interrupted\n"), errors)
        where = (
            r"INTERRUPTED: test_waits .*\n-+\nTraceback .*\n  File .*, in test_waits\n    .*\n(?:    [~^]+\n)?"
            r"KeyboardInterrupt\n\n-"
        )
        self.assertRegex(errors, where)
        self.assertEqual(1, errors.count("Traceback"), errors)
        self.assertNotIn("OK", errors)
        self.assertEqual(list(self.outcomes()), ["TestA.test_1"])
        self.assertEqual((self.journal.unfinished, self.journal.is_finished), (("TestB.test_waits",), False))

    def test_ctrl_c_ends_children_too(self) -> None:
        start = time.monotonic()
        status, errors = self.interrupted("--run-parallel", "2")
        self.assertEqual(status, 130, errors)
        self.assertEqual((1, 1), (errors.count("INTERRUPTED: test_waits"), errors.count("Traceback")), errors)
        self.assertLess(time.monotonic() - start, PATIENCE)
        self.assertEqual(self.outcomes()["TestA.test_1"], ("passed", ""))
        self.assertNotIn("passed", self.outcomes().get("TestB.test_waits", ("",))[0])
        self.assertFalse(self.journal.is_finished)


class WithoutRunTestsTest(SampleTestCase):
    def test_other_launchers_find_the_cases(self) -> None:
        (self.folder / "test_sample.py").write_text(textwrap.dedent(PASSING))
        variables = {"COUNTER": str(self.folder / "counter"), "PYTHONPATH": str(ROOT)}
        for said, *command in (
            ("Ran 2 tests", "unittest", "-k", "test_x", "test_sample"),
            ("2 passed", "pytest", "-q", "-p", "no:cacheprovider", "-k", "test_x", "test_sample.py"),
        ):
            done = self.run_command("-m", *command, **variables)
            self.assertIn(said, done.output)
            self.assertEqual(done.exit_code, 0)


if __name__ == "__main__":
    run_tests()
