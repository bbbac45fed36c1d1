"""A run for people: one line per file, failures as they happen, a table of failures and their reasons, the last line.

On a terminal, live lines show the running tests. In a pipe there are plain lines only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from torch_testing_shim._shared.journal import JournalEntry

from ..result import DID_NOT_RUN, Failure, FileResult, RunSummary
from .output import OutputMultiplexer, PrefixedLines, ProcessOutput
from .progress import Progress, RunningProcess
from .wording import NoteLines, counts_of, failure_line, failures_to_list, left_out_lines, shortened, stopped_lines

#: How often the live lines are drawn at most, in seconds.
DRAW_INTERVAL = 0.1


class _Console(Console):
    """rich's console, but a closed pipe is left to `main`."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def make_console() -> Console:
    """The console on standard output, which prints text as it is."""
    return _Console(markup=False, highlight=False, emoji=False)


class TerminalReport:
    """Prints a run; a context manager, since a terminal's live lines must go whatever happens.

    Args:
        console: the destination of lines.
        raw_output: the destination of the files' own output; None to show only its end, in the report of a failure.
        is_prefixed: the output is shown at once, each line with its file in front; otherwise the output of files that
            run at once is shown one after the other.
        expected: files -> recorded durations, in seconds.
        jobs: the number of files that run at once.
    """

    def __init__(
        self,
        console: Console,
        raw_output: BinaryIO | None = None,
        *,
        is_prefixed: bool = False,
        expected: Mapping[str, float] | None = None,
        jobs: int = 1,
    ) -> None:
        self._console = console
        self._output = OutputMultiplexer(raw_output) if raw_output else None
        self._is_prefixed = is_prefixed
        has_live_lines = console.is_terminal and not console.is_dumb_terminal and self._output is None
        self._live = Live(console=console, auto_refresh=False, transient=True) if has_live_lines else None
        self._drawn = 0.0
        self._notes = NoteLines()
        self._progress = Progress(expected or {}, jobs)
        self._outputs: dict[RunningProcess, ProcessOutput] = {}

    def __enter__(self) -> TerminalReport:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def run_started(self, files: Sequence[str]) -> None:
        """These files will run."""
        self._progress.plan(files)

    def process_started(self, file: str, part: str = "") -> RunningProcess:
        """A process starts.

        Args:
            file: its file.
            part: the part of it that the process runs, as people read it ("Class", "Class.test again"); "" for all.
        """
        number, total = self._progress.place(file)
        output = self._open(file)
        process = RunningProcess(file, part, self._tests_ended, output.write if output else None, self._draw)
        self._progress.processes.append(process)
        if output is not None:
            self._outputs[process] = output
            output.line(self._styled(f"{process.name} ({number} of {total})", "bold"))
        return process

    def _open(self, file: str) -> ProcessOutput | None:
        if self._output is None:
            return None
        return PrefixedLines(file, self._output) if self._is_prefixed else self._output.open()

    def process_ended(self, process: RunningProcess) -> None:
        """The process has ended."""
        self._progress.processes.remove(process)
        if process in self._outputs:
            self._outputs.pop(process).finish()

    def file_ended(self, result: FileResult) -> None:
        """Print the runner's findings about the file, and the file's line."""
        self._progress.end_file(result.file)
        shown = set()
        for fault in result.faults:
            if fault.label != DID_NOT_RUN:
                self._failure(fault, with_detail=self._output is None and fault.detail not in shown)
                shown.add(fault.detail)
        style = "red" if result.failed else "green" if result.passed else "yellow"
        self._line(f"{result.file}  {counts_of(result)}  {result.ending.seconds:.1f}s", style=style)
        for line in stopped_lines(result, with_detail=self._output is None):
            self._line(line, style="yellow")
        if result.ending.processes_left:
            self._line(f"{result.file} left processes running, which were ended: {result.ending.processes_left}")
        self._draw(at_once=True)

    def _tests_ended(self, process: RunningProcess, new: Sequence[JournalEntry]) -> None:
        """Print the failures and note, unless the output has just shown them."""
        failures = sum(entry.status.is_failure for entry in new)
        self._progress.add_tests(len(new), failures)
        for entry in new if self._output is None else ():
            if entry.status.is_failure:
                self._failure(Failure(process.file, entry.test, entry.status.value, entry.reason, entry.detail))
            for line in self._notes.of(entry, process.file):
                self._line(line, style="yellow")

    def _draw(self, *, at_once: bool = False) -> None:
        """Redraw the live lines, unless they were drawn just now."""
        now = time.monotonic()
        if self._live is None or (now - self._drawn < DRAW_INTERVAL and not at_once):
            return
        self._drawn = now
        lines = [self._progress.summary_line(), *self._progress.process_lines()]
        texts = [Text(line, no_wrap=True, overflow="ellipsis") for line in lines]
        self._live.update(Group(*texts), refresh=True)

    def lines(self, lines: Sequence[str]) -> None:
        """Print lines that the user asked for; call it after the context's end."""
        for line in lines:
            self._line(line)

    def finished(self, summary: RunSummary) -> None:
        """Print the table of failures, files that did not run, and the last line; call it after the context's end."""
        failures = failures_to_list(summary)
        if failures:
            self._line("")
            self._table(failures)
        for failure in summary.flaky:
            self._line(f"FLAKY  {failure.where}  passed when it was run again; at first: {shortened(failure.reason)}")
        for sentence in summary.unmatched:
            self._line(f"UNMATCHED  {sentence}", style="red")
        for line in left_out_lines(summary):
            self._line(line)
        if summary.not_run:
            count = "1 file" if len(summary.not_run) == 1 else f"{len(summary.not_run)} files"
            self._line(f"not run: {count} ({summary.why_not_run})", style="yellow")
        self._line(str(summary))

    def _table(self, failures: list[Failure]) -> None:
        if not self._console.is_terminal:  # one line each, whole and easy to search
            for failure in failures:
                self._line(failure_line(failure))
            return
        table = Table("what", "where", "why", title="failed", title_justify="left")
        for failure in failures:
            table.add_row(
                failure.label, Text(failure.where, overflow="fold"), Text(shortened(failure.reason), overflow="fold")
            )
        self._console.print(table)

    def _failure(self, failure: Failure, *, with_detail: bool = True) -> None:
        self._line(failure_line(failure), style="red")
        if with_detail and failure.detail:
            self._line(failure.detail.rstrip("\n"))

    def _line(self, text: str, style: str = "") -> None:
        """Print one line as it is: no markup, no wrapping; where output is shown, as soon as no stream is live."""
        if self._output is not None:
            self._output.line(self._styled(text, style))
        else:
            self._console.print(Text(text, style=style), soft_wrap=True)

    def _styled(self, text: str, style: str) -> str:
        """The text as the console would print it, colours included."""
        with self._console.capture() as captured:
            self._console.print(Text(text, style=style), soft_wrap=True, end="")
        return captured.get()
