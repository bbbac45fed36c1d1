"""How files run, option by option: the real command on sample trees."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runner_samples import RunnerTestCase, last_line

PASS = "def test_a(self): pass"
#: Fails the first time that it runs in a tree, and passes later.
FLAKY = """
def test_a(self): pass
def test_b(self):
    is_first = not os.path.exists("ran")
    open("ran", "w").close()
    self.assertFalse(is_first, "the first time")
"""
#: Passes twice and fails from then on.
WEARS_OUT = """
def test_a(self):
    with open("runs", "a") as runs: print("once", file=runs)
    with open("runs") as runs: self.assertLess(len(runs.readlines()), 3, "worn out")
"""
#: Ends only where the other file runs at the same time.
MEETS = """
def test_a(self):
    open("{own}", "w").close()
    deadline = time.monotonic() + 30
    while not os.path.exists("{other}"):
        self.assertLess(time.monotonic(), deadline, "was alone")
        time.sleep(0.02)
    print("met")
"""


class RunOptionsTest(RunnerTestCase):
    def assertEnds(self, result: subprocess.CompletedProcess[str], status: int, line: str) -> None:
        self.assertEqual((status, line), (result.returncode, last_line(result.stdout)), result.stdout + result.stderr)

    def forget(self, name: str) -> None:
        (self.tree / name).unlink()

    def test_a_failed_test_runs_again_and_says_that_it_did(self) -> None:
        self.sample("test_x", FLAKY)
        self.assertEnds(self.run_test(), 1, "1 passed, 1 failed, 0 skipped")
        self.forget("ran")
        result = self.run_test("--retries", "1")
        self.assertEnds(result, 0, "2 passed, 0 failed, 0 skipped")
        self.assertEqual(1, result.stdout.count("FLAKY  test_x::SampleTest.test_b  "), result.stdout)
        self.forget("ran")
        result = self.run_test("--retries", "1", "--fail-on-flaky")
        self.assertEnds(result, 1, "1 passed, 1 failed, 0 skipped")
        self.assertEqual(1, result.stdout.count("FLAKY  test_x::SampleTest.test_b  "), result.stdout)
        self.assertEqual("test_x\n", self.run_test("--last-failed", "--list").stdout)

    def test_a_file_is_repeated_so_often_or_until_it_fails(self) -> None:
        self.sample("test_x", WEARS_OUT)
        self.assertEnds(self.run_test("--repeat", "4"), 1, "2 passed, 2 failed, 0 skipped")
        self.forget("runs")
        self.assertEnds(self.run_test("--until-failure"), 1, "2 passed, 1 failed, 0 skipped")
        self.forget("runs")
        self.assertEnds(self.run_test("--until-failure", "--repeat", "2"), 0, "2 passed, 0 failed, 0 skipped")

    def test_files_run_at_the_same_time_and_their_lines_say_whose_they_are(self) -> None:
        self.sample("test_x", MEETS.format(own="x", other="y"))
        self.sample("test_y", MEETS.format(own="y", other="x"))
        for extra in ((), ("--cold",)):
            result = self.run_test("-j", "2", "--pipe-logs", *extra)
            self.assertEnds(result, 0, "2 passed, 0 failed, 0 skipped")
            self.assertEqual(["test_x", "test_y"], sorted(re.findall(r"(?m)^\[(test_\w)\] met$", result.stdout)))
            self.forget("x")
            self.forget("y")
        self.assertNothingLeft()

    def test_a_file_that_takes_too_long_is_ended_and_the_others_run(self) -> None:
        self.sample("test_x", "def test_a(self): pass\ndef test_b(self): time.sleep(300)\n")
        self.sample("test_y", PASS)
        result = self.run_test("--timeout", "3", "--keep-going")
        self.assertEnds(result, 1, "2 passed, 1 failed, 0 skipped")
        self.assertRegex(result.stdout, r"(?m)^TIMED OUT  test_x::SampleTest.test_b  .* 3 s ")
        self.assertRegex(result.stdout, r"test_x.py\", line \d+ in test_b")  # where it hung
        self.assertNothingLeft()
        self.assertEnds(self.run_test("--enable-timeout", "test_y"), 0, "1 passed, 0 failed, 0 skipped")

    def test_no_file_starts_after_the_deadline_and_that_is_no_pass(self) -> None:
        self.sample("test_x", "def test_a(self): time.sleep(1.5)")
        self.sample("test_y", PASS)
        result = self.run_test("--deadline", "1", "--keep-going")
        self.assertEnds(result, 1, "1 passed, 0 failed, 0 skipped")
        self.assertIn("not run: 1 file (--deadline 1)\n", result.stdout)


if __name__ == "__main__":
    run_tests()
