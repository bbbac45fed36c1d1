"""Times: what runs have shown is kept, merged, and read back; nothing else is read as times."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.history.times import (
    FileTime,
    TestTime,
    Times,
    merge_times,
    parse_times,
    times_of,
)
from torch_testing_shim._runner.plan.selection import FileSelection
from torch_testing_shim._runner.result import Failure, FileEnding, FileResult, RunSummary
from torch_testing_shim._shared.journal import JournalEntry, RankRecord, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given

NUMBERS = st.integers(0, 50).map(float)
NAMES = st.sampled_from(["A.a", "A.b", "B.a"])


@st.composite
def file_times(draw: st.DrawFn) -> FileTime:
    """One file after one run: its tests ran after it started."""
    seconds = draw(st.none() | NUMBERS)
    at = 0.0 if seconds is None else draw(NUMBERS)
    tests = draw(st.dictionaries(NAMES, st.tuples(NUMBERS, NUMBERS, st.integers(0, 8))))
    return FileTime(at, seconds, {name: TestTime(at + later, s, ranks) for name, (later, s, ranks) in tests.items()})


TIMES = st.dictionaries(st.sampled_from(["test_x", "test_y", "a/test_z"]), file_times()).map(Times)


def entry(test: str, seconds: float = 1.0, status: TestStatus = TestStatus.PASSED, ranks: int = 0) -> JournalEntry:
    records = tuple(RankRecord(rank, "passed") for rank in range(ranks))
    return JournalEntry(test, status, seconds, started_at=102.0, ranks=records)


class MergeTest(TestCase):
    @given(TIMES, TIMES, TIMES)
    def test_the_order_does_not_matter(self, one: Times, two: Times, three: Times) -> None:
        together = merge_times([one, two, three])
        self.assertEqual(together, merge_times([three, one, two]))
        self.assertEqual(together, merge_times([one, merge_times([three, two])]))
        self.assertEqual(together, merge_times([together, one, together]))

    def test_the_newest_counts_and_a_test_that_is_gone_goes(self) -> None:
        old = FileTime(100.0, 9.0, {"A.kept": TestTime(101.0, 3.0, 4), "A.gone": TestTime(102.0, 4.0)})
        new = FileTime(200.0, 5.0, {"A.kept": TestTime(201.0, 2.0, 4)})
        one_test = FileTime(tests={"A.kept": TestTime(300.0, 1.0, 2)})
        expected = Times({"test_x": FileTime(200.0, 5.0, {"A.kept": TestTime(300.0, 1.0, 2)})})
        self.assertEqual(expected, merge_times(Times({"test_x": file}) for file in (old, new, one_test)))


class FormatTest(TestCase):
    @given(TIMES)
    def test_what_is_written_is_read(self, times: Times) -> None:
        self.assertEqual(times, parse_times(times.to_json()))

    def test_the_format(self) -> None:
        times = Times({"test_x": FileTime(100.0, 9.5, {"A.a": TestTime(101.0, 1.5, 4)})})
        test = {"seconds": 1.5, "ranks": 4, "at": 101.0}
        expected = {"version": 1, "files": {"test_x": {"seconds": 9.5, "at": 100.0, "tests": {"A.a": test}}}}
        self.assertEqual(expected, json.loads(times.to_json()))

    def test_anything_else_is_refused_and_the_message_says_why(self) -> None:
        whole = Times({"test_x": FileTime(100.0, 9.5, {"A.a": TestTime(101.0, 1.5, 4)})}).to_json()
        refused = {
            "": "it is not JSON",
            "\x00": "it is not JSON",
            "[" * 10**5: "it is not JSON",
            whole[:-4]: "it is not JSON",
            "[]": "it is not a times file",
            '{"files": {}}': "it is not a times file",
            '{"version": 2}': "its version is 2, not 1",
            '{"version": 1, "files": []}': "it has a record that is no time",
            whole.replace("9.5", '"9.5"'): "it has a record that is no time",
            whole.replace("1.5", "-1.5"): "it has a record that is no time",
            whole.replace("1.5", "NaN"): "it has a record that is no time",
            whole.replace("9.5", "1" * 400): "it has a record that is no time",
            whole.replace('"ranks": 4', '"ranks": true'): "it has a record that is no time",
        }
        for text, reason in refused.items():
            with self.assertRaises(ValueError) as caught:
                parse_times(text)
            self.assertEqual(reason, str(caught.exception), text[:200])


class TimesOfTest(TestCase):
    def test_a_whole_run(self) -> None:
        result = FileResult(FileEnding("test_x", 0, 9.0, started_at=100.0), (entry("A.a", 1.5, ranks=4), entry("A.b")))
        times = times_of(RunSummary((result,)), {"test_x"}, now=500.0)
        tests = {"A.a": TestTime(102.0, 1.5, 4), "A.b": TestTime(102.0, 1.0)}
        self.assertEqual(Times({"test_x": FileTime(100.0, 9.0, tests)}), times)
        self.assertEqual(4, times.files["test_x"].ranks)

    def test_what_was_cut_short_is_no_time_of_the_file(self) -> None:
        entries = (entry("A.a"), entry("A.skips", status=TestStatus.SKIPPED))
        expected = Times({"test_x": FileTime(tests={"A.a": TestTime(102.0, 1.0)})})
        stopped = FileResult(FileEnding("test_x", -2, 9.0, is_stopped=True, started_at=100.0), entries)
        crashed = FileResult(
            FileEnding("test_x", -9, 9.0, started_at=100.0), entries, (Failure("test_x", "A.c", "", ""),)
        )
        part = FileResult(FileEnding("test_x", 0, 9.0, started_at=100.0), entries)
        for result, whole in ((stopped, {"test_x"}), (crashed, {"test_x"}), (part, set())):
            self.assertEqual(expected, times_of(RunSummary((result,)), whole, now=500.0))

    def test_a_file_without_a_start_time_has_started_before_it_ended(self) -> None:
        times = times_of(RunSummary((FileResult(FileEnding("test_x", 0, 9.0)),)), {"test_x"}, now=500.0)
        self.assertEqual(FileTime(491.0, 9.0), times.files["test_x"])


class ExpectedTest(TestCase):
    TIMES = Times(
        {
            "whole": FileTime(
                1.0, 9.0, {"A.a": TestTime(1.0, 2.0), "A.b": TestTime(1.0, 3.0), "AB.a": TestTime(1.0, 1.0)}
            ),
            "parts": FileTime(tests={"A.a": TestTime(1.0, 2.0)}),
            "empty": FileTime(),
        }
    )

    def test_whole_files_and_parts(self) -> None:
        selected = [
            FileSelection("whole"),
            FileSelection("parts"),
            FileSelection("empty"),
            FileSelection("never seen"),
        ]
        self.assertEqual({"whole": 9.0, "parts": 2.0}, self.TIMES.expected(selected))
        self.assertEqual({"whole": 5.0}, self.TIMES.expected([FileSelection("whole", ("A",))]))
        self.assertEqual({"whole": 3.0}, self.TIMES.expected([FileSelection("whole", ("A.b",))]))
        self.assertEqual({"whole": 9.0}, self.TIMES.expected([FileSelection("whole", ("New.test",))]))
        self.assertEqual({"whole": 6.0}, self.TIMES.expected([FileSelection("whole", excluded=("A.b",))]))
        self.assertEqual({"whole": 2.0}, self.TIMES.expected([FileSelection("whole", ("A",), ("A.b",))]))

    def test_a_file_whose_parts_ran_at_once_took_less_than_its_tests(self) -> None:
        times = Times({"split": FileTime(1.0, 2.0, {"A.a": TestTime(1.0, 3.0), "A.b": TestTime(1.0, 0.5)})})
        self.assertEqual({"split": 0.0}, times.expected([FileSelection("split", excluded=("A.a",))]))


class RecordTest(TestCase):
    def test_the_most_ranks_of_a_test_are_the_files(self) -> None:
        self.assertEqual((0, None, 0), (FileTime().at, FileTime().seconds, FileTime().ranks))
        tests = {"A.a": TestTime(1.0, 2.0, 3), "A.b": TestTime(1.0, 2.0, 8), "A.c": TestTime(1.0, 2.0)}
        self.assertEqual(8, FileTime(tests=tests).ranks)


if __name__ == "__main__":
    run_tests()
