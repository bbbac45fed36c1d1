"""Results: counts, the last line, and the exit status that follows from them."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.result import Failure, FileEnding, FileResult, RunSummary
from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim._shared.journal import JournalEntry, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from properties import given


def file(*statuses: TestStatus, faults: int = 0, is_refusal: bool = False) -> FileResult:
    entries = tuple(JournalEntry(f"A.test_{n}", status, 0.0, "why", "long") for n, status in enumerate(statuses))
    fault = Failure("test_x", "", "error", "broke")
    return FileResult(FileEnding("test_x", 0), entries, (fault,) * faults, is_refusal=is_refusal)


PASSED, SKIPPED = file(TestStatus.PASSED), file(TestStatus.SKIPPED)
FAILED, FAULTY = file(TestStatus.PASSED, TestStatus.ERROR), file(faults=1)
EMPTY, REFUSED = file(), file(faults=1, is_refusal=True)


class ExitStatusTest(TestCase):
    def status(self, *files: FileResult, stopped_by: signal.Signals | None = None) -> ExitStatus:
        return RunSummary(files, stopped_by=stopped_by).exit_status

    def test_all_passed(self) -> None:
        self.assertEqual(ExitStatus.PASSED, self.status(PASSED, SKIPPED, EMPTY))

    def test_something_failed_wherever_it_stands(self) -> None:
        for failing in (FAILED, FAULTY, file(TestStatus.FAILED), file(TestStatus.UNEXPECTED_SUCCESS)):
            self.assertEqual(ExitStatus.FAILED, self.status(failing, PASSED))
            self.assertEqual(ExitStatus.FAILED, self.status(PASSED, failing))

    def test_only_refusals_are_wrong_usage(self) -> None:
        self.assertEqual(ExitStatus.USAGE, self.status(PASSED, REFUSED))
        self.assertEqual(ExitStatus.FAILED, self.status(FAILED, REFUSED))

    def test_nothing_ran(self) -> None:
        self.assertEqual(ExitStatus.NOTHING_RAN, self.status())
        self.assertEqual(ExitStatus.NOTHING_RAN, self.status(EMPTY, EMPTY))

    def test_a_stopped_run_is_neither_passed_nor_failed(self) -> None:
        self.assertEqual(130, self.status(PASSED, stopped_by=signal.SIGINT))
        self.assertEqual(143, self.status(FAILED, stopped_by=signal.SIGTERM))

    def test_nothing_but_skips_fails_where_that_was_asked_for(self) -> None:
        for files, status in (((SKIPPED, EMPTY), 1), ((SKIPPED, PASSED), 0), ((EMPTY,), 5), ((), 5)):
            self.assertEqual(status, RunSummary(files, fails_if_all_skipped=True).exit_status)
        self.assertEqual(0, self.status(SKIPPED, EMPTY))

    def test_a_run_that_left_files_out_or_knows_of_absent_tests_is_no_pass(self) -> None:
        for summary in (RunSummary((PASSED,), not_run=("test_y",)), RunSummary((PASSED,), unmatched=("no such test",))):
            self.assertIs(ExitStatus.FAILED, summary.exit_status)

    def test_a_report_that_was_not_written_is_no_pass(self) -> None:
        self.assertEqual(ExitStatus.FAILED, RunSummary((PASSED,), unwritten=("no room",)).exit_status)
        self.assertEqual(130, RunSummary((PASSED,), (), signal.SIGINT, unwritten=("no room",)).exit_status)

    @given(st.lists(st.sampled_from([PASSED, SKIPPED, FAILED, FAULTY, EMPTY, REFUSED])))
    def test_status_0_exactly_where_something_ran_and_nothing_failed(self, files: list[FileResult]) -> None:
        ran = any(result.entries for result in files)
        failed = any(result.failed for result in files)
        self.assertEqual(ran and not failed, self.status(*files) == 0)

    def test_the_documented_numbers(self) -> None:
        self.assertEqual([0, 1, 2, 5, 129, 130, 141, 143], sorted(map(int, ExitStatus)))


class SummaryTest(TestCase):
    def test_the_last_line_adds_up_all_files(self) -> None:
        self.assertExpectedInline(
            str(RunSummary((PASSED, FAILED, SKIPPED, FAULTY, EMPTY))), """2 passed, 2 failed, 1 skipped"""
        )
        self.assertExpectedInline(str(RunSummary()), """0 passed, 0 failed, 0 skipped""")

    def test_a_failure_says_where_as_the_command_line_takes_it(self) -> None:
        self.assertEqual(["test_x::A.test_1", "test_x"], [f.where for f in RunSummary((FAILED, FAULTY)).failures])

    def test_a_failure_keeps_the_tests_own_words(self) -> None:
        self.assertEqual((Failure("test_x", "A.test_1", "error", "why", "long"),), FAILED.failures)

    def test_one_more_fault_makes_a_green_file_red(self) -> None:
        faulty = PASSED.with_fault("error", "no report")
        self.assertEqual((1, 1, "no report"), (faulty.passed, faulty.failed, faulty.failures[0].reason))
        self.assertEqual(0, PASSED.failed)

    def test_why_files_did_not_run(self) -> None:
        for expected, summary in (
            ("", RunSummary(stopped_by=signal.SIGINT, deadline=3.0)),
            ("SIGINT", RunSummary(not_run=("test_x",), stopped_by=signal.SIGINT, deadline=3.0)),
            ("a file failed; --keep-going goes on", RunSummary(not_run=("test_x",))),
            ("--deadline 0.5", RunSummary(not_run=("test_x",), deadline=0.5)),
        ):
            self.assertEqual(expected, summary.why_not_run)

    def test_a_test_that_passed_as_often_as_it_failed_is_flaky(self) -> None:
        failed = FileResult(FileEnding("test_x", 1), (JournalEntry("A.a", TestStatus.FAILED, 0.1, "why"),) * 2)
        passed = JournalEntry("A.a", TestStatus.PASSED, 0.1)
        for reruns, count in ((0, 2), (1, 2), (2, 0), (3, 0)):
            self.assertEqual(count, replace(failed, reruns=(passed,) * reruns).failed, reruns)

    def test_what_is_not_told_is_nothing(self) -> None:
        ending = FileEnding("test_x", 0)
        self.assertEqual((0, 0.0, None), (ending.processes_left, ending.started_at, ending.seconds_allowed))
        self.assertEqual((0.0, False), (ending.seconds, ending.is_stopped))
        self.assertEqual(0, FileResult(ending).left_out)

    def test_a_flaky_test_is_told_apart_from_a_failure(self) -> None:
        failed = FileResult(FileEnding("test_x", 1), (JournalEntry("A.a", TestStatus.FAILED, 0.1, "why"),))
        flaky = replace(failed, reruns=(JournalEntry("A.a", TestStatus.PASSED, 0.1),))
        (told,) = RunSummary((flaky,)).flaky
        self.assertEqual(("A.a", "why"), (told.test, told.reason))
        self.assertEqual(ExitStatus.PASSED, RunSummary((flaky,)).exit_status)
        strict = replace(flaky, flaky_fails=True)
        self.assertEqual([(1, 0), (0, 1)], [(one.passed, one.failed) for one in (flaky, strict)])
        self.assertEqual(((), ExitStatus.FAILED), (RunSummary((strict,)).flaky, RunSummary((strict,)).exit_status))
        reason = "passed when it was run again; at first: why"
        self.assertEqual([("flaky", reason)], [(one.label, one.reason) for one in strict.failures])


if __name__ == "__main__":
    run_tests()
