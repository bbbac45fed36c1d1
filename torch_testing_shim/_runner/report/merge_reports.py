"""Merge the runs of several machines: read their JSON lines, show what all came to, and give one verdict.

The reports of one group of shards lie in one folder. A group is whole when each of its shards has exactly one report
that can be read to its end; whatever is missing is a failure, never a gap.
"""

from __future__ import annotations

import secrets
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim._shared.settings import read_github_actions

from ..result import RunSummary
from .files import ReportFiles
from .github import command, without_commands
from .json_lines import RecordsError, read_json_lines
from .markdown import append_step_summary, markdown_of
from .recorded_run import RecordedRun
from .wording import failure_line, failures_to_list

#: How a report's name ends; the folders may hold other files.
SUFFIX = ".jsonl"


@dataclass(frozen=True)
class MergedRuns:
    """Runs that belong together."""

    runs: tuple[RecordedRun, ...]  # all that could be read, by group and shard
    problems: tuple[str, ...] = ()  # one sentence for each report that is missing, torn or too many

    @property
    def exit_status(self) -> ExitStatus:
        """The verdict over all of them."""
        if self.problems:
            return ExitStatus.FAILED
        return one_verdict(run.facts.exit_status for run in self.runs)

    def __str__(self) -> str:
        """The last line of the output: what all runs came to together."""
        return str(RunSummary(tuple(file for run in self.runs for file in run.summary.files)))


def one_verdict(exit_statuses: Iterable[int]) -> ExitStatus:
    """Return the exit status of several runs: a stopped run decides, then a run that failed in any way; nothing ran
    where nothing ran anywhere."""
    found = set(exit_statuses)
    for status in (ExitStatus.TERMINATED, ExitStatus.INTERRUPTED):
        if status in found:
            return status
    if found - {ExitStatus.PASSED, ExitStatus.NOTHING_RAN}:
        return ExitStatus.FAILED
    return ExitStatus.PASSED if ExitStatus.PASSED in found else ExitStatus.NOTHING_RAN


def read_groups(folders: Sequence[Path]) -> MergedRuns:
    """Read the reports below each of `folders`, one group each, called by the folder's name."""
    runs: list[RecordedRun] = []
    problems: list[str] = []
    for folder in folders:
        group = folder.resolve().name
        found = []
        paths = sorted(folder.rglob(f"*{SUFFIX}"))
        for path in paths:
            try:
                with path.open("rb") as stream:
                    found.append(replace(read_json_lines(stream), group=group))
            except RecordsError as error:
                problems.append(f"{group}: the report {str(path)!r} cannot be read: {error}")
            except OSError as error:
                problems.append(f"{group}: the report {str(path)!r} cannot be read: {error.strerror}")
        if not paths:
            problems.append(f"{group}: there is no report in the folder {str(folder)!r}")
        problems += [f"{group}: {problem}" for problem in missing_shards([run.facts.shard for run in found])]
        problems += [f"{group}: {problem}" for problem in _twice(found)]
        problems += [problem for run in found if (problem := _contradiction(run))]
        runs += sorted(found, key=lambda run: run.facts.shard or (0, 0))
    return MergedRuns(tuple(runs), tuple(problems))


def missing_shards(shards: Sequence[tuple[int, int] | None]) -> Iterator[str]:
    """The problems of a group that has reports of these shards, as (index, count); None for a run without shards."""
    if not shards:
        return
    if None in shards:
        if len(shards) > 1:
            yield f"{len(shards)} reports lie together, and not all are of shards"
        return
    counts = {shard[1] for shard in shards if shard is not None}
    if len(counts) > 1:
        yield f"reports of {' and of '.join(map(str, sorted(counts)))} shards lie together"
        return
    count = counts.pop()
    for index in range(1, count + 1):
        reports = shards.count((index, count))
        if reports == 0:
            yield f"the report of shard {index} of {count} is missing"
        elif reports > 1:
            yield f"shard {index} of {count} has {reports} reports"


def _twice(runs: Sequence[RecordedRun]) -> Iterator[str]:
    """Files that several shards have taken: these have planned differently, and some other file may be in none."""
    counts = Counter(name for run in runs for name in {*(f.file for f in run.summary.files), *run.summary.not_run})
    for name, count in sorted(counts.items()):
        if count > 1:
            yield f"{name} is in {count} shards: they were not planned by the same times or from the same files"


def _contradiction(run: RecordedRun) -> str:
    """The problem of a report with failures and the exit status of a run without: no run writes such a report."""
    failed = sum(file.failed for file in run.summary.files)
    if failed and run.facts.exit_status in (ExitStatus.PASSED, ExitStatus.NOTHING_RAN):
        return f"{run.name}: the report has {failed} failures and the exit status {run.facts.exit_status}"
    return ""


def merge_reports(folders: Sequence[Path], page: Path | None, program: str) -> int:
    """Merge the reports below each of `folders`, one for each group of shards, and write the HTML page where that is
    wanted; return the exit status: the verdict over all runs."""
    files = ReportFiles(html=page)
    files.check()
    merged = read_groups(folders)
    unwritten = files.write_page(merged.runs, merged.exit_status, merged.problems)
    actions = read_github_actions()
    if actions is not None:
        unwritten += append_step_summary(actions, markdown_of(merged.runs, merged.problems))
    lines = "\n".join(line for run in merged.runs for line in _lines_of(run))
    print(lines if actions is None else without_commands(lines, secrets.token_hex(16)).rstrip("\n"))
    for problem in (*merged.problems, *unwritten):
        print(command("error", problem) if actions is not None else f"{program}: error: {problem}", file=sys.stderr)
    print(merged)
    sys.stdout.flush()
    return ExitStatus.FAILED if unwritten and merged.exit_status == ExitStatus.PASSED else merged.exit_status


def _lines_of(run: RecordedRun) -> Iterator[str]:
    yield f"{run.name or 'the run'}  {run.summary}  exit status {run.facts.exit_status}"
    for sentence in run.summary.unmatched:
        yield f"UNMATCHED  {sentence}"
    for failure in failures_to_list(run.summary):
        yield failure_line(failure)
