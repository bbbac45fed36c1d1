"""One run: its files run with all that reports on them, and what is kept of them for the next run."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Sequence

from .cli.options import Options
from .expectations.nothing_expected import NothingExpected, RunJudgement
from .history.failed_files import begin_failed_list, write_failed_list
from .history.failed_tests import failed_lines
from .history.tree_history import History
from .plan.selection import FileSelection
from .plan.tree import Tree
from .process.coverage_run import begin_coverage, combined_report
from .process.run_folder import scratch_folder
from .process.schedule import RunPlan, run_all
from .process.stop import StopRequest
from .report.listings import skip_reasons, slowest_tests
from .report.session import RunReports
from .result import RunSummary
from .usage_error import UsageError

__all__ = ["run"]


def run(selected: Sequence[FileSelection], options: Options, tree: Tree, history: History, stop: StopRequest) -> int:
    """Runs the files with their reports and returns the exit status.

    Args:
        selected: what runs, in order.
        options: the command line.
        tree: the tree that it lies in.
        history: what earlier runs have shown; it is brought up to date.
        stop: the user's wish to stop.

    Raises:
        UsageError: something that the run needs cannot be had.
    """
    judged = _judgement(selected, options, tree)
    if options.write_failed is not None:
        begin_failed_list(options.write_failed)
    if options.coverage:
        begin_coverage(tree.reports)
    expected = history.expected(selected)
    reports = RunReports(options, tree, expected.seconds)
    plan = RunPlan(selected, tree, options, expected, judged, reports.finish_file)
    with scratch_folder() as scratch, reports:
        summary = run_all(plan, scratch=scratch, stop=stop, report=reports.display, say=_note)
    summary = dataclasses.replace(summary, fails_if_all_skipped=options.fail_if_all_skipped)
    summary, changes = judged.conclude(summary, reports.finish_file)
    if options.write_failed is not None:
        write_failed_list(options.write_failed, failed_lines(summary))
    for problem in history.take(summary, _whole_files(selected, options)):
        _note(problem)
    return reports.finish(summary, [*_listings(summary, options, tree), *changes])


def _judgement(selected: Sequence[FileSelection], options: Options, tree: Tree) -> RunJudgement:
    if options.expectations is None:
        return NothingExpected()
    try:
        from .expectations.judged_run import JudgedRun, what_is_listed
    except ModuleNotFoundError as error:
        raise UsageError(f"--expectations needs {error.name}: pip install 'torch-testing-shim[runner]'") from error
    return JudgedRun(options, what_is_listed(tree, selected, _whole_files(selected, options)))


def _whole_files(selected: Iterable[FileSelection], options: Options) -> frozenset[str]:
    """The names of the files of which all tests were to run."""
    if options.keywords or options.hw_classification or options.file_arguments:
        return frozenset()
    return frozenset(file.name for file in selected if not (file.tests or file.excluded))


def _listings(summary: RunSummary, options: Options, tree: Tree) -> list[str]:
    """What the user asked to read at the end."""
    lines = [combined_report(tree.root, tree.reports)] if options.coverage else []
    if options.durations is not None:
        lines += slowest_tests(summary, options.durations)
    if options.why_skipped:
        lines += skip_reasons(summary)
    if summary.is_all_skipped and options.fail_if_all_skipped:
        lines.append("every test was skipped, which --fail-if-all-skipped makes a failure")
    return lines


def _note(line: str) -> None:
    print(f"run_test.py: note: {line}", file=sys.stderr, flush=True)
