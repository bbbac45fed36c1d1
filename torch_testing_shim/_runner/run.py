"""One run: its files run, their reports are written, and the history is brought up to date."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from torch_testing_shim._shared.owned_folders import make_folder, remove_folder
from torch_testing_shim._shared.settings import read_temporary_folder

from .cli.options import Options
from .expectations.judgement import RunJudgement
from .history.failed_tests import begin_failed_list, failed_lines, write_failed_list
from .history.tree_history import History
from .plan.selection import FileSelection
from .plan.tree import Tree
from .process.coverage_run import begin_coverage, combined_report
from .process.schedule import RunPlan, run_all
from .process.stop import StopRequest
from .report.session import RunReports
from .report.wording import skip_reasons, slowest_tests
from .result import RunSummary
from .usage_error import UsageError, extra_for


def run(selected: Sequence[FileSelection], options: Options, tree: Tree, history: History, stop: StopRequest) -> int:
    """Run the files in order, with their reports, and bring the history up to date; return the exit status."""
    judged = _judgement(selected, options, tree)
    if options.write_failed is not None:
        begin_failed_list(options.write_failed)
    if options.coverage:
        begin_coverage(tree.reports)
    reports = RunReports(options, tree, history.times.expected(selected))
    plan = RunPlan(selected, tree, options, history.times, judged, reports.finish_file)
    with _scratch_folder() as scratch, reports.display as display:
        summary = run_all(plan, scratch=scratch, stop=stop, report=display, say=partial(_note, options.program))
    summary = dataclasses.replace(summary, fails_if_all_skipped=options.fail_if_all_skipped)
    summary, changes = judged.conclude(summary, reports.finish_file)
    if options.write_failed is not None:
        write_failed_list(options.write_failed, failed_lines(summary))
    for problem in history.take(summary, _whole_files(selected, options)):
        _note(options.program, problem)
    return reports.finish(summary, [*_listings(summary, options, tree), *changes])


def _judgement(selected: Sequence[FileSelection], options: Options, tree: Tree) -> RunJudgement:
    if options.expectations is None:
        return RunJudgement()
    with extra_for("--expectations needs"):
        from .expectations.judged_run import JudgedRun, what_is_listed
    return JudgedRun(options, what_is_listed(tree, selected, _whole_files(selected, options)))


def _whole_files(selected: Iterable[FileSelection], options: Options) -> frozenset[str]:
    """The names of the files whose tests are all selected."""
    if options.keywords or options.hw_classification or options.file_arguments:
        return frozenset()
    return frozenset(file.name for file in selected if not (file.tests or file.excluded))


def _listings(summary: RunSummary, options: Options, tree: Tree) -> list[str]:
    """The lines that the user asked to read at the end."""
    lines = [combined_report(tree.root, tree.reports)] if options.coverage else []
    if options.durations is not None:
        lines += slowest_tests(summary, options.durations)
    if options.why_skipped:
        lines += skip_reasons(summary)
    if summary.is_all_skipped and options.fail_if_all_skipped:
        lines.append("every test was skipped, which --fail-if-all-skipped makes a failure")
    return lines


def _note(program: str, line: str) -> None:
    print(f"{program}: note: {line}", file=sys.stderr, flush=True)


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """A private folder for outputs and journals, removed at the end, or by the next run where this one is killed."""
    try:
        folder = make_folder(read_temporary_folder())
    except OSError as error:
        raise UsageError(f"cannot make a temporary folder (TMPDIR chooses where): {error}") from error
    try:
        yield folder
    finally:
        remove_folder(folder)
