"""One run: the commands run with all that reports on them, and what is kept of them for the next run."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .command import FileCommand
from .coverage_run import begin_coverage, combined_report
from .failed_files import FailedRecord, begin_failed_list, write_failed_list
from .failed_tests import failed_lines, failures_known_after
from .file_process import scratch_folder
from .options import Options
from .report.junit import JUnitReport
from .report.listings import skip_reasons, slowest_tests
from .report.terminal import TerminalReport, make_console
from .result import RunSummary
from .schedule import run_all
from .selection import FileSelection
from .stop import StopRequest
from .times import times_of
from .times_file import record_times

__all__ = ["run"]


def run(
    selected: Sequence[FileSelection],
    commands: Sequence[FileCommand],
    options: Options,
    root: Path,
    record: FailedRecord,
    times_path: Path,
    stop: StopRequest,
) -> int:
    """Runs the commands with their reports and returns the exit status.

    Args:
        selected: what the commands run, one for one.
        commands: the commands, in order.
        options: the command line.
        root: the folder that holds run_test.py and the folder `test`.
        record: what failed the last time; it is brought up to date.
        times_path: where it is written down how long files took.
        stop: the user's wish to stop.

    Raises:
        UsageError: something that the run needs cannot be had.
    """
    if options.write_failed is not None:
        begin_failed_list(options.write_failed)
    if options.coverage:
        begin_coverage(root)
    default_folder = root / "test" / "test-reports" / "python-unittest"
    junit = JUnitReport(Path(options.xml_folder or default_folder)) if options.save_xml else None
    raw_output = sys.stdout.buffer if options.verbose else None
    with scratch_folder() as scratch, TerminalReport(make_console(), raw_output) as terminal:
        summary = run_all(
            commands, keep_going=options.keep_going, scratch=scratch, stop=stop, terminal=terminal, junit=junit
        )
    summary = dataclasses.replace(summary, fails_if_all_skipped=options.fail_if_all_skipped)
    _keep(summary, selected, options, record, times_path)
    for line in _listings(summary, options, root):
        print(line)
    terminal.finished(summary)
    return summary.exit_status


def _keep(
    summary: RunSummary,
    selected: Sequence[FileSelection],
    options: Options,
    record: FailedRecord,
    times_path: Path,
) -> None:
    """Writes down what failed and how long it took, for the next run and for the user."""
    narrowed = bool(options.keywords or options.file_arguments)
    whole_files = {file.name for file in selected if not (narrowed or file.tests or file.excluded)}
    problem = record.write(failures_known_after(record.lines, summary, whole_files))
    problems = [problem] if problem is not None else []
    problems += record_times(times_path, times_of(summary, whole_files, time.time()))
    for line in problems:
        print(f"run_test.py: note: {line}", file=sys.stderr)
    if options.write_failed is not None:
        write_failed_list(options.write_failed, failed_lines(summary))


def _listings(summary: RunSummary, options: Options, root: Path) -> Iterator[str]:
    """What the user asked to read at the end."""
    if options.coverage:
        yield combined_report(root)
    if options.durations is not None:
        yield from slowest_tests(summary, options.durations)
    if options.why_skipped:
        yield from skip_reasons(summary)
    if summary.is_all_skipped and options.fail_if_all_skipped:
        yield "every test was skipped, which --fail-if-all-skipped makes a failure"
