"""One run: its files run with all that reports on them, and what is kept of them for the next run."""

from __future__ import annotations

import dataclasses
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .command import build_command
from .coverage_run import begin_coverage, combined_report
from .failed_files import begin_failed_list, write_failed_list
from .failed_tests import failed_lines
from .file_process import scratch_folder
from .history import History
from .options import Options
from .report.files import ReportFiles
from .report.junit import JUnitReport
from .report.listings import skip_reasons, slowest_tests
from .report.recorded_run import RecordedRun, RunFacts, describe_machine
from .report.terminal import OutputMode, TerminalReport, make_console
from .result import RunSummary
from .schedule import RunPlan, run_all
from .selection import FileSelection
from .stop import StopRequest

__all__ = ["run"]


def run(selected: Sequence[FileSelection], options: Options, root: Path, history: History, stop: StopRequest) -> int:
    """Runs the files with their reports and returns the exit status.

    Args:
        selected: what runs, in order.
        options: the command line.
        root: the folder that holds run_test.py and the folder `test`.
        history: what earlier runs have shown; it is brought up to date.
        stop: the user's wish to stop.

    Raises:
        UsageError: something that the run needs cannot be had.
    """
    began = time.time()
    reports = ReportFiles(options.report_html, options.trace, options.json_lines)
    plan = _prepare(selected, options, root, history, reports)
    with scratch_folder() as scratch, _terminal(options, plan) as terminal:
        summary = run_all(plan, scratch=scratch, stop=stop, report=terminal, say=_note)
    summary = dataclasses.replace(summary, fails_if_all_skipped=options.fail_if_all_skipped)
    if options.write_failed is not None:
        write_failed_list(options.write_failed, failed_lines(summary))
    for problem in history.take(summary, _whole_files(selected, options)):
        _note(problem)
    summary = dataclasses.replace(summary, unwritten=tuple(reports.write(_recorded(summary, options, began))))
    for line in _listings(summary, options, root):
        print(line)
    terminal.finished(summary)
    return summary.exit_status


def _prepare(
    selected: Sequence[FileSelection], options: Options, root: Path, history: History, reports: ReportFiles
) -> RunPlan:
    """The plan of the run, when all that it is to write has a place."""
    reports.check()
    if options.write_failed is not None:
        begin_failed_list(options.write_failed)
    if options.coverage:
        begin_coverage(root)
    expected = history.expected(selected)
    plan = RunPlan(selected, lambda file: build_command(file, options, root), options, expected)
    if not options.save_xml:
        return plan
    folder = Path(options.xml_folder or root / "test" / "test-reports" / "python-unittest")
    return dataclasses.replace(plan, finish=JUnitReport(folder).write)


def _terminal(options: Options, plan: RunPlan) -> TerminalReport:
    return TerminalReport(
        make_console(),
        sys.stdout.buffer if options.verbose or options.pipe_logs else None,
        mode=OutputMode.PREFIXED if options.pipe_logs else None,
        expected=plan.expected.seconds,
        jobs=options.jobs,
    )


def _whole_files(selected: Iterable[FileSelection], options: Options) -> set[str]:
    """The names of the files of which all tests were to run."""
    if options.keywords or options.file_arguments:
        return set()
    return {file.name for file in selected if not (file.tests or file.excluded)}


def _recorded(summary: RunSummary, options: Options, began: float) -> RecordedRun:
    facts = RunFacts(
        started_at=began,
        seconds=time.time() - began,
        exit_status=summary.exit_status,
        command=shlex.join(["run_test.py", *sys.argv[1:]]),
        machine=describe_machine(),
        shard=(options.shard.index, options.shard.count) if options.shard else None,
    )
    return RecordedRun(facts, summary)


def _listings(summary: RunSummary, options: Options, root: Path) -> Iterator[str]:
    """What the user asked to read at the end, and what has to be said."""
    if options.coverage:
        yield combined_report(root)
    if options.durations is not None:
        yield from slowest_tests(summary, options.durations)
    if options.why_skipped:
        yield from skip_reasons(summary)
    if summary.is_all_skipped and options.fail_if_all_skipped:
        yield "every test was skipped, which --fail-if-all-skipped makes a failure"
    yield from summary.unwritten


def _note(line: str) -> None:
    print(f"run_test.py: note: {line}", file=sys.stderr, flush=True)
