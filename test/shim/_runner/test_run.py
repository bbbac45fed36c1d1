"""A run and what is kept of it for the next one: the real command on sample trees."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runner_samples import RunnerTestCase, last_line

PASS = "def test_a(self): pass"
MIXED = """
def test_a(self): pass
def test_b(self): self.assertTrue(os.path.exists("mended"))
def test_c(self): self.skipTest("no reason")
"""


class AgainTest(RunnerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.sample("test_x", PASS)
        self.sample("test_y", MIXED)
        self.sample("test_z", PASS)
        self.record = self.tree / "test" / "test-reports" / "last-failed.json"

    def outcome(self, *arguments: str) -> tuple[int, list[str], str]:
        """Exit status, the names of the files that ran, in order, and the last line."""
        result = self.run_test(*arguments)
        names = re.findall(r"^(test_\w+)  \d+ ", result.stdout, re.MULTILINE)
        return result.returncode, names, last_line(result.stdout)

    def test_what_failed_runs_again_alone_or_first_until_it_passes(self) -> None:
        everything = ["test_x", "test_y", "test_z"]
        self.assertEqual((1, everything, "3 passed, 1 failed, 1 skipped"), self.outcome("--keep-going"))
        self.assertEqual((1, ["test_y"], "0 passed, 1 failed, 0 skipped"), self.outcome("--last-failed"))
        in_front = (1, ["test_y", "test_x", "test_z"], "3 passed, 1 failed, 1 skipped")
        self.assertEqual(in_front, self.outcome("--failed-first", "--keep-going"))
        self.assertEqual((0, ["test_x"], "1 passed, 0 failed, 0 skipped"), self.outcome("test_x"))
        (self.tree / "mended").touch()
        self.assertEqual((0, ["test_y"], "1 passed, 0 failed, 0 skipped"), self.outcome("--last-failed"))
        result = self.run_test("--last-failed")
        self.assertEqual((0, "4 passed, 0 failed, 1 skipped"), (result.returncode, last_line(result.stdout)))
        self.assertExpectedInline(
            result.stderr, """run_test.py: note: nothing of this failed the last time; all of it is selected\n"""
        )

    def test_a_damaged_record_is_told_and_written_anew(self) -> None:
        self.record.parent.mkdir()
        self.record.write_text("{damaged")
        result = self.run_test("--last-failed", "test_x", "test_y")
        self.assertEqual((1, "2 passed, 1 failed, 1 skipped"), (result.returncode, last_line(result.stdout)))
        self.assertRegex(
            result.stderr,
            r"\Arun_test.py: note: cannot read what failed last time from '\S*last-failed.json': it is damaged\n"
            r"run_test.py: note: nothing of this failed the last time; all of it is selected\n\Z",
        )
        self.assertEqual({"failed": ["test_y::SampleTest.test_b"]}, json.loads(self.record.read_text()))

    def test_a_list_of_failed_tests_is_written_and_read(self) -> None:
        path = self.tree / "lists" / "failed.txt"
        self.assertEqual(1, self.outcome("--write-failed", str(path), "--keep-going")[0])
        self.assertEqual("test_y::SampleTest.test_b\n", path.read_text())
        (self.tree / "mended").touch()
        again = self.outcome("--failed-from", str(path), "--write-failed", str(path))
        self.assertEqual((0, ["test_y"], "1 passed, 0 failed, 0 skipped"), again)
        self.assertEqual("", path.read_text())
        self.assertEqual((5, [], "0 passed, 0 failed, 0 skipped"), self.outcome("--failed-from", str(path)))

    def test_lists_that_cannot_be_used_are_wrong_usage_and_nothing_runs(self) -> None:
        (self.tree / "gone.txt").write_text("test_gone::A.a\ntest_x\n../test_x\n")
        result = self.run_test("--write-failed", "run_test.py/x")
        message = "run_test.py: error: cannot write --write-failed 'run_test.py/x': Not a directory\n"
        self.assertEqual((2, "", message), (result.returncode, result.stdout, result.stderr))
        result = self.run_test("--failed-from", "gone.txt")
        self.assertEqual((2, ""), (result.returncode, result.stdout))
        self.assertRegex(
            result.stderr,
            r"\Arun_test.py: error: no test file is called 'test_gone'[^\n]*\n"
            r"run_test.py: error: '../test_x' lies outside the test folder [^\n]*\n\Z",
        )


class TimesTest(RunnerTestCase):
    def setUp(self) -> None:
        super().setUp()
        for name in ("test_a", "test_b", "test_c", "test_d"):
            self.sample(name, PASS)

    def times(self, name: str, **seconds: float) -> str:
        """Write a times file; return its path."""
        files = {file: {"seconds": time, "at": 1.0, "tests": {}} for file, time in seconds.items()}
        path = self.tree / name
        path.write_text(json.dumps({"version": 1, "files": files}))
        return str(path)

    def shards(self, *arguments: str) -> list[list[str]]:
        return [self.run_test("--list", "--shard", index, "2", *arguments).stdout.split() for index in "12"]

    def test_a_run_records_how_long_files_took_and_a_shard_is_planned_by_it(self) -> None:
        self.assertEqual(0, self.run_test("test_a", "test_b").returncode)
        recorded = json.loads((self.tree / "test" / "test-reports" / "times.json").read_text())["files"]
        self.assertEqual(["test_a", "test_b"], sorted(recorded))
        self.assertGreater(recorded["test_a"]["seconds"], 0)
        self.assertEqual(["SampleTest.test_a"], list(recorded["test_a"]["tests"]))
        path = self.times("times.json", test_a=1, test_b=1, test_c=1, test_d=9)
        self.assertEqual([["test_d"], ["test_a", "test_b", "test_c"]], self.shards("--times", path))

    def test_times_files_are_merged(self) -> None:
        one, other = self.times("one", test_d=9), self.times("other", test_a=1, test_b=1, test_c=1)
        result = self.run_test("--merge-times", one, other, "--times", "merged/times")
        self.assertEqual((0, "", ""), (result.returncode, result.stdout, result.stderr))
        self.assertEqual([["test_d"], ["test_a", "test_b", "test_c"]], self.shards("--times", "merged/times"))

    def test_a_damaged_times_file_is_told_and_the_run_goes_on(self) -> None:
        (self.tree / "times.json").write_text("{damaged")
        result = self.run_test("--times", "times.json", "test_a")
        self.assertEqual((0, "1 passed, 0 failed, 0 skipped"), (result.returncode, last_line(result.stdout)))
        damaged = "run_test.py: note: the times file 'times.json' counts as empty: it is not JSON"
        aside = f"{damaged}; it was put aside as 'times.json.unreadable'"
        self.assertEqual(f"{damaged}\n{aside}\n", result.stderr)
        self.assertEqual("", self.run_test("--times", "times.json", "test_a").stderr)


class PartsTest(RunnerTestCase):
    def test_a_part_of_a_file_is_left_out(self) -> None:
        self.sample("test_x", MIXED)
        self.sample("test_y", PASS)
        result = self.run_test("-x", "test_x::SampleTest::test_b", "test_y::SampleTest")
        self.assertEqual((0, "1 passed, 0 failed, 1 skipped"), (result.returncode, last_line(result.stdout)))
        result = self.run_test("test_x::SampleTest.test_b", "-x", "test_x::SampleTest")
        self.assertEqual((5, "0 passed, 0 failed, 0 skipped\n"), (result.returncode, result.stdout))


class ListingsTest(RunnerTestCase):
    def test_the_slowest_tests_and_the_reasons_of_skips(self) -> None:
        self.sample("test_x", "def test_a(self): time.sleep(0.2)\ndef test_b(self): pass\n")
        self.sample(
            "test_y", "def test_a(self): self.skipTest('no room')\ndef test_b(self): self.skipTest('no room')\n"
        )
        result = self.run_test("--durations", "1", "--why-skipped")
        self.assertEqual(0, result.returncode)
        self.assertRegex(
            result.stdout,
            r"\nslowest 1 of 4 tests:\n +\d+\.\d{3}s  test_x::SampleTest.test_a\n"
            r"SKIPPED  2  no room  \(test_y::SampleTest.test_a, test_y::SampleTest.test_b\)\n"
            r"2 passed, 0 failed, 2 skipped\n\Z",
        )
        self.assertEqual(4, self.run_test("--durations", "0").stdout.count("::"))

    def test_a_run_of_skips_alone_fails_where_that_was_asked_for(self) -> None:
        self.sample("test_x", "def test_a(self): self.skipTest('no room')")
        self.assertEqual(0, self.run_test().returncode)
        result = self.run_test("--fail-if-all-skipped")
        self.assertEqual(1, result.returncode)
        self.assertIn("\nevery test was skipped, which --fail-if-all-skipped makes a failure\n", result.stdout)
        self.sample("test_y", PASS)
        self.assertEqual(0, self.run_test("--fail-if-all-skipped").returncode)
        self.assertEqual(5, self.run_test("--fail-if-all-skipped", "-k", "nothing_of_this_name").returncode)


class FileOptionsTest(RunnerTestCase):
    def test_what_is_asked_of_a_file_reaches_it(self) -> None:
        ours = [f"TORCH_TESTING_SHIM_{name}" for name in ("DEVICE", "SEED", "STRICT_LEAKS", "SHOW_OUTPUT")]
        shown = f"[os.environ.get(name) for name in {[ours[0], 'WORLD_SIZE', *ours[1:]]}]"
        self.sample("test_x", f"def test_a(self): print({shown}, sys.argv[1:])")
        options = ("-vv", "--world-size", "2", "--seed", "7", "--strict-leaks", "--showlocals", "--device", "meta")
        result = self.run_test(*options, "--", "--failfast")
        self.assertIn("['meta', '2', '7', '1', '1'] ['-v', '--locals', '--failfast']\n", result.stdout)
        self.assertIn("['cpu', None, None, None, None] ['-v']\n", self.run_test("-v").stdout)

    def test_local_variables_are_shown_on_demand(self) -> None:
        self.sample("test_x", "def test_a(self):\n    found = 'a clue'\n    self.fail()\n")
        self.assertIn("found = 'a clue'", self.run_test("-v", "--showlocals").stdout)
        self.assertNotIn("found = 'a clue'", self.run_test("-v").stdout)


if __name__ == "__main__":
    run_tests()
