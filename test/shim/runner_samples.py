"""Sample trees for the runner's tests: a folder with run_test.py, `test/` beside it, and files written by the test.

Most samples end in `mini_run.run_tests`, which journals as the real `run_tests` does and imports no torch, so that a
test of the runner costs a fraction of a second. test_runner_real_files.py runs files that use the real one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from usual_signals import take_usual_signals

from torch_testing_shim.common_utils import TestCase

ROOT = Path(__file__).resolve().parents[2]

#: How long a whole run of samples may take, in seconds: they take one, and a loaded machine some more.
RUN_TIMEOUT = 60.0
#: How long processes may still be seen after the runner has ended, in seconds: the kernel takes a moment to bury them.
DYING_TIMEOUT = 5.0

MINI_RUN = """
import argparse, sys, time, traceback, unittest
from torch_testing_shim._shared.journal import Journal, JournalEntry, TestStatus
from torch_testing_shim._shared.settings import read_settings
from torch_testing_shim._shared.stack_request import answer_stack_requests

journal = Journal(read_settings().journal)

def name(test):
    return test.id().split(".", 1)[1]

class JournalingResult(unittest.TextTestResult):
    def startTest(self, test):
        super().startTest(test)
        self.began, self.began_at, self.outcome = time.monotonic(), time.time(), None
        journal.start(name(test))

    def stopTest(self, test):
        super().stopTest(test)
        if self.outcome:  # unittest comes here without one when Ctrl-C ends the test
            status, reason, detail = self.outcome
            seconds = time.monotonic() - self.began
            journal.end(JournalEntry(name(test), status, seconds, reason, detail, self.began_at))

    def addSuccess(self, test):
        super().addSuccess(test)
        self.outcome = (TestStatus.PASSED, "", "")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.outcome = (TestStatus.FAILED, str(err[1]).splitlines()[0], "".join(traceback.format_exception(*err)))

    def addError(self, test, err):
        super().addError(test, err)
        self.outcome = (TestStatus.ERROR, repr(err[1]), "".join(traceback.format_exception(*err)))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.outcome = (TestStatus.SKIPPED, reason, "")

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.outcome = (TestStatus.EXPECTED_FAILURE, "", "")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.outcome = (TestStatus.UNEXPECTED_SUCCESS, "passed, though it is marked to fail", "")

def each(suite):
    for item in suite:
        yield from each(item) if isinstance(item, unittest.TestSuite) else (item,)

class JournalingRunner(unittest.TextTestRunner):
    resultclass = JournalingResult

    def run(self, suite):
        kept = [test for test in each(suite) if not {name(test), name(test).split(".")[0]} & set(excluded)]
        journal.plan([name(test) for test in kept])
        return super().run(unittest.TestSuite(kept))

def run_tests():
    global excluded
    answer_stack_requests()
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--exclude-test", action="append", default=[])
    own, others = parser.parse_known_args()
    excluded = own.exclude_test
    program = unittest.main(
        module="__main__", argv=[sys.argv[0], *others], exit=False, testRunner=JournalingRunner
    )
    journal.finish()
    result = program.result
    sys.exit(5 if not result.testsRun else 0 if result.wasSuccessful() else 1)
"""

SAMPLE = """
import os, signal, subprocess, sys, time, unittest
from mini_run import run_tests

class SampleTest(unittest.TestCase):
{body}

if __name__ == "__main__":
    run_tests()
"""


class RunnerTestCase(TestCase):
    """A test with a sample tree of its own, removed afterwards."""

    tree: Path  # the folder with run_test.py
    scratch: Path  # the TMPDIR of what runs there, so that a test can see what was left in it

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="runner-sample-")
        self.addCleanup(folder.cleanup)
        self.tree = Path(folder.name).resolve() / "tree"
        self.scratch = self.tree.parent / "scratch"
        self.scratch.mkdir()
        (self.tree / "test").mkdir(parents=True)
        shutil.copy(ROOT / "run_test.py", self.tree / "run_test.py")
        (self.tree / "mini_run.py").write_text(MINI_RUN)

    def write(self, name: str, text: str) -> Path:
        """Write test/<name>.py as it is."""
        path = self.tree / "test" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def sample(self, name: str, body: str) -> Path:
        """Write test/<name>.py with the class SampleTest, whose methods are `body`."""
        return self.write(name, SAMPLE.format(body=textwrap.indent(textwrap.dedent(body), "    ")))

    def environment(self, **changes: str) -> dict[str, str]:
        """A developer's plain environment: nothing of the run that this test itself is part of. The CPU is chosen, or
        else files would wait for each other's accelerators where there are some."""
        ours = ("TORCH_TESTING_SHIM_", "WORLD_SIZE", "TMPDIR", "COVERAGE_")
        outer = (*ours, "PYTHON", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "CI", "GITHUB_", "_ARGCOMPLETE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
        path = os.pathsep.join([str(ROOT), str(self.tree)])
        own = {"PYTHONPATH": path, "TMPDIR": str(self.scratch), "TORCH_TESTING_SHIM_DEVICE": "cpu"}
        return {**kept, **own, **changes}

    def run_test(
        self, *arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run run_test.py to its end, from the tree's folder unless told otherwise."""
        return subprocess.run(
            [sys.executable, str(self.tree / "run_test.py"), *arguments],
            cwd=cwd or self.tree,
            env=env or self.environment(),
            input="typed by the user\n",
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start run_test.py; it is killed when the test ends, if it still runs."""
        process = subprocess.Popen(
            [sys.executable, str(self.tree / "run_test.py"), *arguments],
            cwd=self.tree,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=take_usual_signals,
        )
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def wait_until(self, condition: Callable[[], object], what: str, *, seconds: float = RUN_TIMEOUT) -> None:
        """Wait until `condition` holds; fail naming `what` where it does not come true in `seconds`."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"never happened: {what}")
            time.sleep(0.02)

    def processes_of_tree(self) -> list[str]:
        """The command lines of all living processes that were started in this tree, the runner's own included."""
        lines = []
        for process in psutil.process_iter():
            try:
                is_here = process.environ().get("TMPDIR", "").startswith(str(self.scratch))
                if is_here and process.status() != psutil.STATUS_ZOMBIE:
                    lines.append(" ".join(process.cmdline()))
            except psutil.Error:  # ended meanwhile, or another user's
                continue
        return lines

    def assertNothingLeft(self) -> None:
        """No process of the tree lives, and nothing lies in its temporary folder."""
        self.wait_until(lambda: not self.processes_of_tree(), "all processes ended", seconds=DYING_TIMEOUT)
        self.assertEqual("", " ".join(str(path) for path in self.scratch.rglob("*")))


def last_line(text: str) -> str:
    """The last line of an output, which has to end in a line break."""
    assert text.endswith("\n"), repr(text[-80:])
    return text.splitlines()[-1]
