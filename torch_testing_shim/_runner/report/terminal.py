"""What people read: one line per file, failures as they happen, a table of what failed and why, and the last line.

On a terminal, one more line shows the test that runs now. In a pipe there are plain lines only.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import BinaryIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from torch_testing_shim._journal import JournalContents

from ..result import DID_NOT_RUN, Failure, FileResult, RunSummary

__all__ = ["TerminalReport", "failures_to_list", "make_console"]

#: How many "did not run" of one file the table lists one by one; a large file that crashed early has hundreds.
LISTED_NOT_RUN = 10

#: What the table shows of a reason; some messages are a page in one line.
REASON_CHARACTERS = 300


class _Console(Console):
    """rich's console, which leaves a closed pipe to `main`."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def make_console() -> Console:
    """The console on standard output, which prints text as it is."""
    return _Console(markup=False, highlight=False, emoji=False)


class TerminalReport:
    """Prints a run; a context manager, since a terminal's live line has to be taken away whatever happens.

    Args:
        console: where lines go.
        raw_output: where the files' own output goes as it comes, or None to show it only for failures.
    """

    def __init__(self, console: Console, raw_output: BinaryIO | None = None) -> None:
        self._console = console
        self._raw_output = raw_output
        has_live_line = console.is_terminal and not console.is_dumb_terminal and raw_output is None
        self._live = Live(console=console, auto_refresh=False, transient=True) if has_live_line else None
        self._file, self._started = "", 0.0
        self._journal = JournalContents()
        self._output_ends_line = True

    def __enter__(self) -> TerminalReport:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def file_started(self, file: str, number: int, total: int) -> None:
        """The `number`-th of `total` files starts."""
        self._file, self._started = file, time.monotonic()
        self._journal = JournalContents()
        if self._raw_output is not None:
            self._line(f"{file} ({number} of {total})", style="bold")

    def on_output(self, chunk: bytes) -> None:
        """Passes output on where it is to be shown."""
        if self._raw_output is not None:
            self._raw_output.write(chunk)
            self._raw_output.flush()
            self._output_ends_line = chunk.endswith(b"\n")

    def on_journal(self, contents: JournalContents) -> None:
        """Prints the failures and notes that are new in the journal, unless the output has just shown them."""
        new = contents.entries[len(self._journal.entries) :]
        self._journal = contents
        if self._raw_output is None:
            for entry in new:
                if entry.status.is_failure:
                    self._failure(Failure(self._file, entry.test, entry.status.value, entry.reason, entry.detail))
                for note in entry.notes:
                    self._line(f"NOTE  {self._file}::{entry.test}  {note}", style="yellow")

    def on_look(self) -> None:
        """Redraws the live line."""
        if self._live is not None:
            self._live.update(self._live_line(), refresh=True)

    def file_ended(self, result: FileResult) -> None:
        """Prints what the runner found about the file and the file's line."""
        if not self._output_ends_line:
            self._line("")
            self._output_ends_line = True
        shown = set()
        for fault in result.faults:
            if fault.label != DID_NOT_RUN:
                self._failure(fault, with_detail=self._raw_output is None and fault.detail not in shown)
                shown.add(fault.detail)
        if self._live is not None:
            self._live.update(Text(""), refresh=True)
        counts = ", ".join(_counts(result)) or "no tests"
        style = "red" if result.failed else "green" if result.passed else "yellow"
        self._line(f"{result.file}  {counts}  {result.ending.seconds:.1f}s", style=style)
        if result.ending.is_stopped:
            self._line(f"stopped while {_stopped_at(result)}", style="yellow")
        if result.ending.processes_left:
            self._line(f"{result.file} left processes running, which were ended: {result.ending.processes_left}")

    def finished(self, summary: RunSummary) -> None:
        """Prints the table of failures, what did not run, and the last line."""
        failures = failures_to_list(summary)
        if failures:
            self._line("")
            self._table(failures)
        if summary.not_run:
            count = "1 file" if len(summary.not_run) == 1 else f"{len(summary.not_run)} files"
            why = summary.stopped_by.name if summary.stopped_by else "a file failed; --keep-going goes on"
            self._line(f"not run: {count} ({why})", style="yellow")
        self._line(str(summary))

    def _table(self, failures: list[Failure]) -> None:
        if not self._console.is_terminal:  # one line each, whole and easy to search
            for failure in failures:
                self._line(f"{failure.label.upper()}  {failure.where}  {_shortened(failure.reason)}")
            return
        table = Table("what", "where", "why", title="failed", title_justify="left")
        for failure in failures:
            table.add_row(
                failure.label, Text(failure.where, overflow="fold"), Text(_shortened(failure.reason), overflow="fold")
            )
        self._console.print(table)

    def _failure(self, failure: Failure, *, with_detail: bool = True) -> None:
        self._line(f"{failure.label.upper()}  {failure.where}  {_shortened(failure.reason)}", style="red")
        if with_detail and failure.detail:
            self._line(failure.detail.rstrip("\n"))

    def _live_line(self) -> Text:
        ended, planned = len(self._journal.entries), len(self._journal.planned)
        now = self._journal.unfinished[-1] if self._journal.unfinished else "starting" if not planned else "ending"
        seconds = time.monotonic() - self._started
        return Text(f"{self._file}  {ended}/{planned}  {now}  {seconds:.0f}s", no_wrap=True, overflow="ellipsis")

    def _line(self, text: str, style: str = "") -> None:
        """One line as it is: no markup, no wrapping."""
        self._console.print(Text(text, style=style), soft_wrap=True)


def failures_to_list(summary: RunSummary) -> list[Failure]:
    """The rows of the table: all failures, with long rows of "did not run" of one file shortened."""
    rows: list[Failure] = []
    for file in summary.files:
        not_run = [failure for failure in file.failures if failure.label == DID_NOT_RUN]
        rows += [failure for failure in file.failures if failure.label != DID_NOT_RUN]
        if len(not_run) <= LISTED_NOT_RUN + 1:
            rows += not_run
        else:
            more = f"and {len(not_run) - LISTED_NOT_RUN} more tests of this file"
            rows += [*not_run[:LISTED_NOT_RUN], Failure(file.file, "", DID_NOT_RUN, more)]
    return rows


def _shortened(reason: str) -> str:
    """A reason that fits a table; the whole of it stands in the report above."""
    return reason if len(reason) <= REASON_CHARACTERS else f"{reason[: REASON_CHARACTERS - 4]} ..."


def _counts(result: FileResult) -> list[str]:
    counts = {"passed": result.passed, "failed": result.failed, "skipped": result.skipped}
    return [f"{count} {what}" for what, count in counts.items() if count]


def _stopped_at(result: FileResult) -> str:
    if result.interrupted:
        return " and ".join(f"{result.file}::{test}" for test in result.interrupted) + " ran"
    return f"{result.file} ran, between tests"
