"""Runs and their output: the real command on sample trees, option by option."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from junitparser import JUnitXml

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from runner_samples import RunnerTestCase, last_line

PASS = "def test_a(self): pass"
MIXED = """
def test_a(self): pass
def test_b(self): self.assertEqual(1, 2, "one is not two")
def test_c(self): self.skipTest("no reason")
"""


class RunTest(RunnerTestCase):
    def test_a_pass(self) -> None:
        self.sample("distributed/test_x", PASS)
        result = self.run_test()
        self.assertEqual((0, ""), (result.returncode, result.stderr))
        self.assertRegex(result.stdout, r"\Adistributed/test_x  1 passed  \d+\.\ds\n1 passed, 0 failed, 0 skipped\n\Z")
        self.assertNothingLeft()

    def test_passes_failures_and_skips(self) -> None:
        self.sample("test_x", MIXED)
        result = self.run_test()
        self.assertEqual((1, ""), (result.returncode, result.stderr))
        shown = re.sub(r"(?m)(^ .*\n)+", "  ...\n", result.stdout)
        self.assertExpectedInline(
            re.sub(r"\d\.\ds\n", "0.0s\n", shown),
            """\
FAILED  test_x::SampleTest.test_b  1 != 2 : one is not two
Traceback (most recent call last):
  ...
AssertionError: 1 != 2 : one is not two

To run this test again:
  ...
test_x  1 passed, 1 failed, 1 skipped  0.0s

FAILED  test_x::SampleTest.test_b  1 != 2 : one is not two
1 passed, 1 failed, 1 skipped
""",
        )

    def test_a_run_stops_after_the_first_file_that_failed_unless_it_is_to_go_on(self) -> None:
        self.sample("test_x", MIXED)
        self.sample("test_y", PASS)
        stopped = self.run_test()
        self.assertIn("not run: 1 file (a file failed; --keep-going goes on)\n", stopped.stdout)
        self.assertEqual((1, "1 passed, 1 failed, 1 skipped"), (stopped.returncode, last_line(stopped.stdout)))
        for option in ("--keep-going", "--continue-through-error"):
            result = self.run_test(option)
            self.assertEqual((1, "2 passed, 1 failed, 1 skipped"), (result.returncode, last_line(result.stdout)))

    def test_patterns_choose_tests_and_a_file_without_any_is_no_failure(self) -> None:
        self.sample("test_x", MIXED)
        self.sample("test_y", PASS)
        result = self.run_test("-k", "test_c", "-k", "nothing_else")
        self.assertEqual((0, "0 passed, 0 failed, 1 skipped"), (result.returncode, last_line(result.stdout)))
        self.assertRegex(result.stdout, r"(?m)^test_y  no tests  ")

    def test_one_test_of_a_file(self) -> None:
        self.sample("test_x", MIXED)
        for request in ("test_x::SampleTest::test_a", "test/test_x.py::SampleTest.test_a"):
            result = self.run_test(request)
            self.assertEqual((0, "1 passed, 0 failed, 0 skipped"), (result.returncode, last_line(result.stdout)))

    def test_verbose_streams_the_files_output_while_it_runs(self) -> None:
        waits = """
        def test_a(self):
            print("before")
            while not os.path.exists("go_on"): time.sleep(0.02)
            print("after")
        """
        self.sample("test_x", waits)
        process = self.start("-v")
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        self.assertIn("before", next(line for line in lines if "before" in line))
        (self.tree / "go_on").touch()
        rest = "".join(lines)
        self.assertIn("after\n", rest)
        self.assertIn("Ran 1 test in", rest)
        self.assertEqual("1 passed, 0 failed, 0 skipped", last_line(rest))

    def test_output_of_a_passing_file_is_not_shown_otherwise(self) -> None:
        self.sample("test_x", "def test_a(self): print('chatter')")
        self.assertNotIn("chatter", self.run_test().stdout)

    def test_arguments_that_the_file_refuses_are_wrong_usage(self) -> None:
        self.sample("test_x", PASS)
        result = self.run_test("--", "--no-such-option")
        self.assertEqual((2, "0 passed, 1 failed, 0 skipped"), (result.returncode, last_line(result.stdout)))
        self.assertIn("unrecognized arguments: --no-such-option", result.stdout)


class SaveXmlTest(RunnerTestCase):
    def test_reports_lie_where_upstreams_do_and_two_readers_read_them(self) -> None:
        self.sample("distributed/test_x", MIXED)
        self.assertEqual(1, self.run_test("--save-xml").returncode)
        folder = self.tree / "test" / "test-reports" / "python-unittest" / "distributed.test_x"
        (path,) = folder.iterdir()
        self.assertEqual(".xml", path.suffix)
        root = ElementTree.parse(path).getroot()
        (element,) = root
        counts = [element.get(name) for name in ("tests", "failures", "errors", "skipped")]
        self.assertEqual(["3", "1", "0", "1"], counts)
        (suite,) = JUnitXml.fromfile(str(path))
        self.assertEqual(["test_a", "test_b", "test_c"], [case.name for case in suite])


if __name__ == "__main__":
    run_tests()
