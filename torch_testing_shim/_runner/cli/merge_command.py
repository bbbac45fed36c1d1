"""The command that merges reports: prints what all runs came to, writes the page, and answers with the one verdict."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim._shared.settings import read_github_actions

from ..report.files import ReportFiles
from ..report.github import command, without_commands
from ..report.markdown import append_step_summary, markdown_of
from ..report.merge_reports import read_groups
from ..report.recorded_run import RecordedRun
from ..report.wording import failure_line, failures_to_list


def merge_reports(folders: Sequence[Path], page: Path | None, program: str) -> int:
    """Merges the reports below each of `folders` and returns the exit status: the verdict over all runs.

    Args:
        folders: a folder for each group of shards.
        page: where the HTML page is to be written, or None.
        program: how the command is called.

    Raises:
        UsageError: the page cannot be written.
    """
    files = ReportFiles(html=page)
    files.check()
    merged = read_groups(folders)
    unwritten = files.write_page(merged.runs, merged.exit_status, merged.problems)
    actions = read_github_actions()
    if actions is not None:
        unwritten += append_step_summary(actions, markdown_of(merged.runs, merged.problems))
    lines = "\n".join(line for run in merged.runs for line in _lines(run))
    print(lines if actions is None else without_commands(lines, secrets.token_hex(16)).rstrip("\n"))
    for problem in (*merged.problems, *unwritten):
        print(command("error", problem) if actions is not None else f"{program}: error: {problem}", file=sys.stderr)
    print(merged)
    sys.stdout.flush()
    return ExitStatus.FAILED if unwritten and merged.exit_status == ExitStatus.PASSED else merged.exit_status


def _lines(run: RecordedRun) -> Iterator[str]:
    yield f"{run.name or 'the run'}  {run.summary}  exit status {run.facts.exit_status}"
    for sentence in run.summary.unmatched:
        yield f"UNMATCHED  {sentence}"
    for failure in failures_to_list(run.summary):
        yield failure_line(failure)
