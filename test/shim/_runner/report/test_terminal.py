"""The report of a run as people read it, on a terminal and in a pipe."""

from __future__ import annotations

import dataclasses
import io
import signal
import sys
from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st
from rich.console import Console

from torch_testing_shim._runner.report.terminal import TerminalReport
from torch_testing_shim._runner.report.wording import failures_to_list, shortened
from torch_testing_shim._runner.result import DID_NOT_RUN, Failure, FileEnding, FileResult, RunSummary
from torch_testing_shim._shared.journal import JournalEntry, TestStatus
from torch_testing_shim._shared.journal_reading import JournalNews
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given
from report_samples import BROKEN, CRASH, FAILED, PASSED, SKIPPED


def file(*entries: JournalEntry, faults: tuple[Failure, ...] = (), **ending: object) -> FileResult:
    return FileResult(FileEnding("a/test_x", 0, 1.25, **ending), entries, faults)  # type: ignore[arg-type]


class TerminalReportTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.text = io.StringIO()

    def report(
        self,
        *,
        is_terminal: bool = False,
        raw_output: io.BytesIO | None = None,
        is_prefixed: bool = False,
        expected: dict[str, float] | None = None,
    ) -> TerminalReport:
        console = Console(
            file=self.text,
            force_terminal=is_terminal,
            width=60,
            markup=False,
            highlight=False,
            emoji=False,
            color_system=None,
        )
        return TerminalReport(console, raw_output, is_prefixed=is_prefixed, expected=expected)

    def shown(self) -> str:
        return self.text.getvalue()

    def test_a_file_that_passed_is_one_line(self) -> None:
        with self.report() as report:
            report.run_started(["a/test_x", "test_y"])
            process = report.process_started("a/test_x")
            process.on_journal(JournalNews((PASSED,), ended=1, planned=1))
            report.process_ended(process)
            report.file_ended(file(PASSED, SKIPPED))
        self.assertExpectedInline(self.shown(), """a/test_x  1 passed, 1 skipped  1.2s\n""")

    def test_a_failure_is_shown_once_when_it_happens_and_nothing_of_it_is_markup(self) -> None:
        with self.report() as report:
            report.run_started(["a/test_x"])
            process = report.process_started("a/test_x")
            process.on_journal(JournalNews((PASSED, FAILED)))
            process.on_journal(JournalNews((SKIPPED,)))
            self.assertExpectedInline(
                self.shown(),
                """\
FAILED  a/test_x::A.test_two  1 != 2
Traceback ...
AssertionError: [bold]1 != 2[/bold]
""",
            )

    def test_a_note_is_shown_of_a_test_that_passed(self) -> None:
        noted = replace(PASSED, notes=("left in the test process: thread 'lingers'",))
        with self.report() as report:
            report.run_started(["a/test_x"])
            process = report.process_started("a/test_x")
            process.on_journal(JournalNews((noted,)))
            process.on_journal(JournalNews((SKIPPED,)))
        self.assertExpectedInline(
            self.shown(),
            """NOTE  a/test_x::A.test_one  left in the test process: thread 'lingers'\n""",
        )

    def test_what_the_runner_found_is_shown_with_the_output(self) -> None:
        not_run = Failure("a/test_x", "B.test_five", DID_NOT_RUN, "ended before it")
        with self.report() as report:
            report.run_started(["a/test_x"])
            process = report.process_started("a/test_x")
            report.process_ended(process)
            report.file_ended(file(faults=(CRASH, not_run, BROKEN), processes_left=2))
        self.assertExpectedInline(
            self.shown(),
            """\
CRASHED  a/test_x::B.test_four  ended with SIGKILL while this test ran
last words
ERROR  a/test_x  ended with exit status 3 although no test failed
a/test_x  3 failed  1.2s
a/test_x left processes running, which were ended: 2
""",
        )

    def test_the_end_of_a_run_in_a_pipe(self) -> None:
        self.report().finished(RunSummary((file(PASSED, FAILED, faults=(BROKEN,)),), ("test_y",)))
        self.assertExpectedInline(
            self.shown(),
            """\

FAILED  a/test_x::A.test_two  1 != 2
ERROR  a/test_x  ended with exit status 3 although no test failed
not run: 1 file (a file failed; --keep-going goes on)
1 passed, 2 failed, 0 skipped
""",
        )

    def test_a_page_in_one_line_isshortened(self) -> None:
        self.assertEqual("x" * 296 + " ...", shortened("x" * 5000))
        self.assertEqual("short", shortened("short"))

    def test_the_end_of_a_run_on_a_terminal_is_a_table(self) -> None:
        self.report(is_terminal=True).finished(RunSummary((file(PASSED, FAILED, faults=(BROKEN,)),)))
        lines = [line.rstrip() for line in self.shown().splitlines()]
        self.assertExpectedInline(
            "\n".join(lines),
            """\

failed
┏━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━┓
┃ what   ┃ where                ┃ why                      ┃
┡━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━┩
│ failed │ a/test_x::A.test_two │ 1 != 2                   │
│ error  │ a/test_x             │ ended with exit status 3 │
│        │                      │ although no test failed  │
└────────┴──────────────────────┴──────────────────────────┘
1 passed, 2 failed, 0 skipped""",
        )

    def test_a_stopped_run_names_the_test_that_ran(self) -> None:
        entries = [
            JournalEntry(f"A.test_{name}", TestStatus.ERROR, 0.0, "", "where it stood\n") for name in ("two", "3")
        ]
        stopped = FileResult(FileEnding("a/test_x", -2, 3.0, is_stopped=True), (PASSED,), interrupted=tuple(entries))
        with self.report() as report:
            report.file_ended(stopped)
        report.finished(RunSummary((stopped,), ("test_y", "test_z"), signal.SIGINT))
        self.assertExpectedInline(
            self.shown(),
            """\
a/test_x  1 passed  3.0s
stopped while a/test_x::A.test_two and a/test_x::A.test_3 ran
where it stood
not run: 2 files (SIGINT)
1 passed, 0 failed, 0 skipped
""",
        )

    def test_a_terminal_shows_the_test_that_runs_now(self) -> None:
        with self.report(is_terminal=True) as report:
            report.run_started(["a/test_x"])
            process = report.process_started("a/test_x")
            process.on_journal(JournalNews((PASSED,), ended=1, planned=2, now="A.test_two"))
            process.on_look()
        self.assertIn("a/test_x  1/2  A.test_two  0s", self.shown())

    def test_verbose_passes_output_on_byte_for_byte_and_does_not_repeat_failures(self) -> None:
        raw = io.BytesIO()
        with self.report(raw_output=raw) as report:
            report.run_started(["a/test_x"])
            process = report.process_started("a/test_x")
            process.on_output(b"one \xff\x1b[1m")
            process.on_journal(JournalNews((FAILED,)))
            report.process_ended(process)
            report.file_ended(file(FAILED))
        expected = b"a/test_x (1 of 1)\none \xff\x1b[1m\na/test_x  1 failed  1.2s\n"
        self.assertEqual((expected, ""), (raw.getvalue(), self.shown()))

    def test_files_that_run_at_once_have_a_live_line_each_and_the_run_has_one(self) -> None:
        with self.report(is_terminal=True, expected={"a/test_x": 60.0, "test_y": 150.0}) as report:
            report.run_started(["a/test_x", "test_y", "test_z"])
            one, two = report.process_started("a/test_x"), report.process_started("test_y", "B.test again")
            two.on_journal(JournalNews(planned=1, now="B.test"))
            one.on_journal(JournalNews((PASSED, FAILED), ended=2, planned=2))
            report.process_ended(one)
            report.file_ended(file(PASSED, FAILED))
        shown = self.shown()
        self.assertIn("test_y (B.test again)  0/1  B.test  0s", shown)
        self.assertIn("1/3 files  2 tests, 1 failed  about 4 min left", shown)

    def test_output_of_files_that_run_at_once_does_not_mix(self) -> None:
        raw = io.BytesIO()
        with self.report(raw_output=raw) as report:
            report.run_started(["a/test_x", "test_y"])
            one, two = report.process_started("a/test_x"), report.process_started("test_y")
            two.on_output(b"y begins, ")
            one.on_output(b"x begins, ")
            two.on_output(b"y ends")
            one.on_output(b"x ends")
            report.process_ended(two)
            report.process_ended(one)
            report.file_ended(file(PASSED))
        self.assertExpectedInline(
            raw.getvalue().decode(),
            """\
a/test_x (1 of 2)
x begins, x ends
test_y (2 of 2)
y begins, y ends
a/test_x  1 passed  1.2s
""",
        )

    def test_prefixed_output_is_shown_line_by_line(self) -> None:
        raw = io.BytesIO()
        with self.report(raw_output=raw, is_prefixed=True) as report:
            one, two = report.process_started("a/test_x"), report.process_started("test_y")
            two.on_output(b"y begins, ")
            one.on_output(b"x\n")
            two.on_output(b"y ends\n")
            report.process_ended(one)
            report.process_ended(two)
        lines = raw.getvalue().decode().splitlines()
        self.assertEqual(["[a/test_x] x", "[test_y] y begins, y ends"], lines[-2:])

    def test_a_flaky_test_is_told_at_the_end(self) -> None:
        again = dataclasses.replace(PASSED, test="A.test_two")
        result = dataclasses.replace(file(PASSED, FAILED), reruns=(again,))
        report = self.report()
        report.file_ended(result)
        report.finished(RunSummary((result,)))
        self.assertExpectedInline(
            self.shown(),
            """\
a/test_x  2 passed, 1 flaky  1.2s
FLAKY  a/test_x::A.test_two  passed when it was run again; at first: 1 != 2
2 passed, 0 failed, 0 skipped
""",
        )

    def test_a_long_row_of_tests_that_did_not_run_isshortened(self) -> None:
        faults = tuple(Failure("a/test_x", f"A.test_{n}", DID_NOT_RUN, "ended") for n in range(300))
        rows = failures_to_list(RunSummary((file(FAILED, faults=faults),)))
        self.assertEqual(12, len(rows))
        self.assertEqual("and 290 more tests of this file", rows[-1].reason)

    @given(st.text(), st.text())
    def test_any_text_of_a_failure_can_be_shown(self, reason: str, detail: str) -> None:
        report = self.report()
        process = report.process_started("a/test_x")
        process.on_journal(JournalNews((JournalEntry("A.a", TestStatus.ERROR, 0.0, reason, detail),)))
        report.finished(RunSummary((file(JournalEntry("A.a", TestStatus.ERROR, 0.0, reason, detail)),)))
        self.assertEqual("0 passed, 1 failed, 0 skipped", self.shown().splitlines()[-1])


if __name__ == "__main__":
    run_tests()
