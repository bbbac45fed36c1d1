"""The fold: every end of a process with every journal, and what must not get lost between them."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.plan.selection import FileSelection
from torch_testing_shim._runner.process.fold import fold, fold_runs, headline
from torch_testing_shim._runner.process.retry import FinishedRun, RunKind, RunOrder
from torch_testing_shim._runner.result import FileEnding, FileResult, RunSummary
from torch_testing_shim._shared.journal import JournalContents, JournalEntry, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given

PASS, FAIL = TestStatus.PASSED, TestStatus.FAILED

TRACEBACK = """\
some print
Traceback (most recent call last):
  File "test_x.py", line 1, in <module>
    import nothing_here
ModuleNotFoundError: No module named 'nothing_here'
"""


def entry(test: str, status: TestStatus = PASS, reason: str = "") -> JournalEntry:
    return JournalEntry(test, status, 0.1, reason)


def journal(*entries: JournalEntry, planned: str = "", unfinished: str = "", finished: bool = True) -> JournalContents:
    """A journal of `entries`; `planned` and `unfinished` are tests with blanks between, planned by default all seen."""
    seen = [*(entry.test for entry in entries), *unfinished.split()]
    return JournalContents(tuple(planned.split() or seen), entries, tuple(unfinished.split()), finished)


def ending(exit_code: int, output: str = "", *, is_stopped: bool = False) -> FileEnding:
    return FileEnding("a/test_x", exit_code, 1.0, output, is_stopped)


def told(result: FileResult) -> str:
    """All failures, one line each, as a report shows them."""
    return "\n".join(f"{failure.label}: {failure.where}: {failure.reason}" for failure in result.failures)


class FoldTest(TestCase):
    def test_a_file_that_passed(self) -> None:
        result = fold(ending(0), journal(entry("A.a"), entry("A.b", TestStatus.SKIPPED, "why")))
        self.assertEqual((1, 0, 1), (result.passed, result.failed, result.skipped))

    def test_expected_failures_pass_and_unexpected_successes_fail(self) -> None:
        entries = [entry("A.a", TestStatus.EXPECTED_FAILURE), entry("A.b", TestStatus.UNEXPECTED_SUCCESS, "passed")]
        result = fold(ending(1), journal(*entries))
        self.assertEqual((1, 1, 0), (result.passed, result.failed, result.skipped))

    def test_what_pytest_ends_with_where_nothing_ran(self) -> None:
        skipped = fold(ending(5), journal(entry("setUpModule", TestStatus.SKIPPED, "needs more")))
        self.assertEqual((0, 0, 1), (skipped.passed, skipped.failed, skipped.skipped))
        passed = fold(ending(5), journal(entry("A.a")))
        self.assertExpectedInline(told(passed), """error: a/test_x: ended with exit status 5 although no test failed""")
        refused = fold(ending(4, "ERROR: not found: test_x.py::A\n(no match in any of [])\n"), JournalContents())
        self.assertTrue(refused.is_refusal)
        self.assertExpectedInline(
            told(refused),
            """error: a/test_x: ended with exit status 4 before any test: ERROR: not found: test_x.py::A""",
        )

    def test_a_failed_test_with_exit_status_1_needs_no_more_words(self) -> None:
        result = fold(ending(1), journal(entry("A.a", FAIL, "1 != 2"), entry("A.b")))
        self.assertExpectedInline(told(result), """failed: a/test_x::A.a: 1 != 2""")

    def test_a_process_that_died_in_a_test(self) -> None:
        contents = journal(entry("A.a"), unfinished="A.b", planned="A.a A.b A.c", finished=False)
        result = fold(ending(-signal.SIGSEGV, "last words"), contents)
        self.assertExpectedInline(
            told(result),
            """\
crashed: a/test_x::A.b: the file's process ended with SIGSEGV while this test ran
did not run: a/test_x::A.c: the file's process ended with SIGSEGV before it""",
        )
        self.assertEqual("last words", result.failures[0].detail)
        self.assertEqual((1, 2), (result.passed, result.failed))

    def test_an_exit_in_a_test_with_any_status_is_an_error_of_that_test(self) -> None:
        for exit_code in (0, 1, 3, 5):
            result = fold(ending(exit_code), journal(unfinished="A.a", finished=False))
            expected = (
                f"crashed: a/test_x::A.a: the file's process ended with exit status {exit_code} while this test ran"
            )
            self.assertEqual(expected, told(result))

    def test_a_process_that_died_between_plan_and_first_test(self) -> None:
        result = fold(ending(-signal.SIGKILL), journal(planned="A.a", finished=False))
        self.assertExpectedInline(
            told(result), """did not run: a/test_x::A.a: the file's process ended with SIGKILL before it"""
        )

    def test_a_planned_test_that_a_finished_file_left_out(self) -> None:
        result = fold(ending(0), journal(entry("A.a"), planned="A.a A.b"))
        self.assertExpectedInline(told(result), """did not run: a/test_x::A.b: the file finished without it""")

    def test_a_test_planned_twice_has_to_run_twice(self) -> None:
        result = fold(ending(0), journal(entry("A.a"), planned="A.a A.a"))
        self.assertEqual((1, 1), (result.passed, result.failed))
        result = fold(ending(0), journal(entry("A.a"), entry("A.a"), planned="A.a A.a"))
        self.assertEqual((2, 0), (result.passed, result.failed))

    def test_exit_status_0_although_a_test_failed(self) -> None:
        result = fold(ending(0), journal(entry("A.a", FAIL, "1 != 2")))
        self.assertExpectedInline(
            told(result),
            """\
failed: a/test_x::A.a: 1 != 2
error: a/test_x: ended with exit status 0 although 1 of its tests failed""",
        )

    def test_another_exit_status_although_no_test_failed(self) -> None:
        result = fold(ending(3, "bye"), journal(entry("A.a")))
        self.assertExpectedInline(told(result), """error: a/test_x: ended with exit status 3 although no test failed""")
        self.assertEqual("bye", result.failures[0].detail)

    def test_a_crash_after_the_end_is_told_beside_a_failure(self) -> None:
        result = fold(ending(-signal.SIGABRT), journal(entry("A.a", FAIL, "1 != 2")))
        self.assertExpectedInline(
            told(result),
            """\
failed: a/test_x::A.a: 1 != 2
error: a/test_x: ended with SIGABRT after it had finished""",
        )

    def test_a_journal_without_an_end(self) -> None:
        for exit_code, how in ((0, "exit status 0"), (-signal.SIGKILL, "SIGKILL")):
            result = fold(ending(exit_code), journal(entry("A.a"), finished=False))
            self.assertEqual(
                f"error: a/test_x: ended with {how} after its last test, before it had finished", told(result)
            )

    def test_a_journal_that_cannot_be_read_in_part(self) -> None:
        contents = JournalContents(("A.a",), (entry("A.a"),), (), True, broken_lines=2)
        self.assertExpectedInline(
            told(fold(ending(0), contents)),
            """error: a/test_x: 2 lines of its journal cannot be read: tests may be missing here""",
        )

    def test_a_journal_that_lost_its_beginning(self) -> None:
        self.assertExpectedInline(
            told(fold(ending(0), JournalContents((), (entry("A.a"),), (), True))),
            """error: a/test_x: the beginning of its journal is lost: tests may be missing here""",
        )

    def test_nothing_selected_is_no_failure(self) -> None:
        result = fold(ending(5), journal())
        self.assertEqual(0, result.failed)

    def test_no_journal_and_exit_status_0_is_never_a_pass(self) -> None:
        self.assertExpectedInline(
            told(fold(ending(0), JournalContents())),
            """no tests: a/test_x: wrote no journal: does it end in `run_tests()` from torch_testing_shim.common_utils?""",  # noqa: E501
        )

    def test_a_file_that_does_not_import(self) -> None:
        result = fold(ending(1, TRACEBACK), JournalContents())
        self.assertExpectedInline(
            told(result), """error: a/test_x: ModuleNotFoundError: No module named 'nothing_here'"""
        )
        self.assertEqual(TRACEBACK, result.failures[0].detail)

    def test_other_ends_before_any_test(self) -> None:
        self.assertExpectedInline(
            told(fold(ending(3), JournalContents())), """error: a/test_x: ended with exit status 3 before any test"""
        )
        self.assertExpectedInline(
            told(fold(ending(-signal.SIGSEGV, "Fatal Python error\n"), JournalContents())),
            """error: a/test_x: ended with SIGSEGV before any test: Fatal Python error""",
        )

    def test_a_file_whose_limit_was_over(self) -> None:
        late = replace(ending(-signal.SIGKILL, "last words"), seconds_allowed=3.0)
        in_a_test = journal(unfinished="A.a", planned="A.a A.b", finished=False)
        results = [fold(late, contents) for contents in (JournalContents(), in_a_test, journal(entry("A.a")))]
        self.assertEqual(["last words"] * 3, [result.failures[0].detail for result in results])
        self.assertExpectedInline(
            "\n".join(map(told, results)),
            """\
timed out: a/test_x: its limit of 3 s was over before any test
timed out: a/test_x::A.a: the file's limit of 3 s was over while this test ran
did not run: a/test_x::A.b: the file's limit of 3 s was over before it
timed out: a/test_x: its limit of 3 s was over after it had finished""",
        )

    def test_a_file_that_refused_its_arguments(self) -> None:
        result = fold(ending(2, "unknown device"), JournalContents())
        self.assertTrue(result.is_refusal)
        self.assertFalse(fold(ending(2), journal(entry("A.a"))).is_refusal)

    def test_a_file_that_was_stopped_has_no_faults_but_its_failures(self) -> None:
        contents = journal(entry("A.a", FAIL, "1 != 2"), unfinished="A.b A.c", planned="A.a A.b A.c", finished=False)
        contents = replace(contents, interrupted=(entry("A.b", TestStatus.ERROR, "rank 1 still ran"),))
        result = fold(ending(-signal.SIGINT, "its last lines", is_stopped=True), contents)
        self.assertExpectedInline(told(result), """failed: a/test_x::A.a: 1 != 2""")
        self.assertExpectedInline(
            "\n".join(f"{entry.test}: {entry.reason}: {entry.detail}" for entry in result.interrupted),
            """\
A.b: the run was stopped while it ran: rank 1 still ran: 
A.c: the run was stopped while it ran: its last lines""",  # noqa: W291
        )
        self.assertEqual([0.1, 0.0], [entry.seconds for entry in result.interrupted])


TESTS = st.sampled_from(["A.a", "A.b", "B.a", "B.b"])
JOURNALS = st.builds(
    JournalContents,
    planned=st.lists(TESTS, max_size=5).map(tuple),
    entries=st.lists(st.builds(entry, TESTS, st.sampled_from(TestStatus)), max_size=5).map(tuple),
    unfinished=st.lists(TESTS, max_size=2).map(tuple),
    is_finished=st.booleans(),
    broken_lines=st.integers(0, 2),
)
EXIT_CODES = st.sampled_from([0, 1, 2, 3, 5, -signal.SIGKILL, -signal.SIGSEGV])


class FoldPropertiesTest(TestCase):
    @given(JOURNALS, EXIT_CODES)
    def test_every_planned_test_ends_up_as_something(self, contents: JournalContents, exit_code: int) -> None:
        result = fold(ending(exit_code), contents)
        reported = [entry.test for entry in contents.entries] + [failure.test for failure in result.faults]
        for test in contents.planned:
            self.assertGreaterEqual(reported.count(test), contents.planned.count(test))

    @given(JOURNALS, EXIT_CODES)
    def test_green_means_that_journal_and_end_are_whole_and_agree(
        self, contents: JournalContents, exit_code: int
    ) -> None:
        result = fold(ending(exit_code), contents)
        if result.failed == 0:
            self.assertTrue(contents.is_finished)
            self.assertEqual((), contents.unfinished)
            self.assertEqual(0, contents.broken_lines)
            self.assertFalse(any(entry.status.is_failure for entry in contents.entries))
            nothing_selected = exit_code == 5 and not contents.entries
            self.assertTrue(exit_code == 0 or nothing_selected)

    @given(JOURNALS, EXIT_CODES.filter(bool))
    def test_a_bad_end_is_green_only_where_nothing_ran(self, contents: JournalContents, exit_code: int) -> None:
        result = fold(ending(exit_code), contents)
        if RunSummary((result,)).exit_status == 0:
            self.fail(f"exit status {exit_code} came out as a pass")


class WordsTest(TestCase):
    def test_the_last_exception_of_a_chain_is_the_headline(self) -> None:
        chain = TRACEBACK + "\nDuring handling of the above exception, another exception occurred:\n\n"
        chain += "Traceback (most recent call last):\n  File ...\nValueError: first line\nsecond line\nnoise at exit\n"
        self.assertEqual("ValueError: first line", headline(chain))

    def test_an_exception_may_stand_alone_below_its_heading(self) -> None:
        self.assertEqual("MemoryError", headline("Traceback (most recent call last):\nMemoryError\nmore\n"))

    def test_without_a_traceback_the_last_line_is_the_headline(self) -> None:
        self.assertEqual(
            "SyntaxError: invalid syntax", headline("  File x\n   (\n   ^\nSyntaxError: invalid syntax\n\n")
        )
        self.assertEqual("", headline("\n \n"))

    def test_a_traceback_that_was_cut_off_still_has_a_headline(self) -> None:
        self.assertEqual('File "x"', headline('Traceback (most recent call last):\n  File "x"\n'))


class FoldRunsTest(TestCase):
    """Processes of one file: parts, repetitions, what another took over, what ran again."""

    def order(self, kind: RunKind = RunKind.FIRST, tests: str = "", **places: int) -> RunOrder:
        return RunOrder(kind, FileSelection("a/test_x", tuple(tests.split())), **places)

    def test_what_one_process_left_is_told_by_the_one_that_took_it_over(self) -> None:
        left = journal(unfinished="A.a", planned="A.a A.b A.c", finished=False)
        died = FinishedRun(self.order(), ending(-9), left)
        rest = FinishedRun(self.order(RunKind.RESUME, "A.b"), ending(0), journal(entry("A.b")))
        self.assertExpectedInline(
            told(fold_runs([died, rest])),
            """\
crashed: a/test_x::A.a: the file's process ended with SIGKILL while this test ran
did not run: a/test_x::A.c: the file's process ended with SIGKILL before it""",
        )
        other_part = replace(rest, order=self.order(RunKind.RESUME, "A.b", part=2, parts=2))
        self.assertIn("A.b: the file's process ended with SIGKILL before it", told(fold_runs([died, other_part])))

    def test_a_named_test_that_was_never_planned_did_not_run(self) -> None:
        planned = journal(entry("A.a"))
        whole = FinishedRun(self.order(RunKind.FIRST, "A.a A.b"), ending(0), planned)
        self.assertEqual("", told(fold_runs([whole])))
        for named in (self.order(RunKind.RESUME, "A.a A.b"), self.order(RunKind.FIRST, "A.a A.b", part=1, parts=1)):
            self.assertExpectedInline(
                told(fold_runs([FinishedRun(named, ending(0), planned)])),
                """did not run: a/test_x::A.b: the file's process ended with exit status 0 before it""",
            )
            self.assertEqual("", told(fold_runs([FinishedRun(named, ending(0, is_stopped=True), planned)])))

    def test_the_ending_is_that_of_the_first_process_that_did_not_end_well(self) -> None:
        def run(number: int, exit_code: int, *, is_stopped: bool = False, left: int = 0) -> FinishedRun:
            told_of = replace(ending(exit_code, f"process {number}"), is_stopped=is_stopped, processes_left=left)
            return FinishedRun(self.order(number=number), replace(told_of, started_at=10.0 - number), journal())

        good, bad, stopped = run(1, 0, left=1), run(2, 3, left=2), run(3, 0, is_stopped=True)
        together = fold_runs([good, bad, stopped]).ending
        self.assertEqual(("process 2", 3, 3.0), (together.output_tail, together.exit_code, together.seconds))
        self.assertEqual((True, 3, 7.0), (together.is_stopped, together.processes_left, together.started_at))
        self.assertEqual("process 3", fold_runs([good, stopped, run(4, 0)]).ending.output_tail)
        self.assertEqual("process 4", fold_runs([good, run(4, 0)]).ending.output_tail)
        self.assertFalse(fold_runs([good, run(4, 0)]).ending.is_stopped)

    def test_a_test_that_ran_again_is_a_rerun_unless_the_user_stopped_it(self) -> None:
        first = FinishedRun(self.order(), ending(1), journal(entry("A.a", FAIL, "why")))
        retry = RunOrder(RunKind.RETRY, FileSelection("a/test_x", ("A.a",)), test="A.a", attempt=1)
        again = FinishedRun(retry, ending(0), journal(entry("A.a")))
        result = fold_runs([first, again])
        self.assertEqual(((entry("A.a"),), 0), (result.reruns, result.failed))
        self.assertEqual((), fold_runs([first, replace(again, ending=ending(0, is_stopped=True))]).reruns)


if __name__ == "__main__":
    run_tests()
