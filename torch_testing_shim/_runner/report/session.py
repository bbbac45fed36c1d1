"""All reports of one run, from the check before it to the files after it. The runner knows only this module.

reports = RunReports(options, tree, expected)
with reports.display as display:
    summary = run_all(... report=display, finish=reports.finish_file ...)
status = reports.finish(summary)
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch_testing_shim._shared.python_command import interpreter_flags
from torch_testing_shim._shared.settings import read_github_actions

from ..cli.options import Options
from ..plan.tree import Tree
from ..result import FileResult, RunSummary
from .files import ReportFiles
from .github import GitHubReport
from .junit import JUnitReport
from .markdown import append_step_summary, markdown_of
from .recorded_run import RecordedRun, RunFacts, describe_machine
from .terminal import TerminalReport, make_console

#: Sees the progress of a run.
Display = TerminalReport | GitHubReport


class RunReports:
    """All reports on a run.

    Args:
        options: which reports are written and shown.
        expected: files -> recorded durations, in seconds; for the time left.
    """

    def __init__(self, options: Options, tree: Tree, expected: Mapping[str, float]) -> None:
        self._options = options
        self._files = ReportFiles(options.report_html, options.trace, options.json_lines)
        self._files.check()
        xml_folder = Path(options.save_xml or tree.reports / "python-unittest")
        self._junit = JUnitReport(xml_folder) if options.save_xml is not None else None
        self._actions = read_github_actions()
        self._started_at, self._started = time.time(), time.monotonic()
        #: Sees the progress of the run; a context manager around the run itself.
        self.display = self._display(tree, expected)

    def _display(self, tree: Tree, expected: Mapping[str, float]) -> Display:
        options = self._options
        if self._actions is not None and not options.pipe_logs:
            return GitHubReport(sys.stdout.buffer, self._actions, tree, is_verbose=options.verbose)
        raw_output = sys.stdout.buffer if options.verbose or options.pipe_logs else None
        is_prefixed, jobs = options.pipe_logs, options.jobs
        return TerminalReport(make_console(), raw_output, is_prefixed=is_prefixed, expected=expected, jobs=jobs)

    def finish_file(self, result: FileResult) -> FileResult:
        """Write the reports about one file as it ends; return the result, with a fault where that failed."""
        return self._junit.write(result) if self._junit is not None else result

    def finish(self, summary: RunSummary, lists: Sequence[str] = ()) -> int:
        """Write the reports about the run, print the last lines, and return the exit status.

        A run that passed fails where a report could not be written.

        Args:
            lists: lines that the user asked to read at the end.
        """
        run = RecordedRun(self._facts(summary.exit_status), summary)
        problems = [*summary.unwritten, *self._files.write(run)]
        notes = append_step_summary(self._actions, markdown_of([run], problems)) if self._actions is not None else []
        for kind, lines in (("error", problems), ("note", notes)):
            for line in lines:
                print(f"{self._options.program}: {kind}: {line}", file=sys.stderr, flush=True)
        if lists:
            self.display.lines(lists)
        self.display.finished(summary)
        return replace(summary, unwritten=tuple(problems)).exit_status

    def _facts(self, exit_status: int) -> RunFacts:
        shard = self._options.shard
        return RunFacts(
            started_at=self._started_at,
            seconds=time.monotonic() - self._started,
            exit_status=exit_status,
            command=shlex.join(["python", *interpreter_flags(), *sys.argv]),
            machine=describe_machine(),
            shard=(shard.index, shard.count) if shard is not None else None,
        )
