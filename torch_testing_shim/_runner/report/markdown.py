"""The result of a run as GitHub's Markdown, for the summary of a job."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from torch_testing_shim._shared.settings import GitHubActions

from ..result import RunSummary
from .recorded_run import RecordedRun, noted_rows, rows_of
from .wording import failures_to_list, shortened

#: GitHub takes no more than a megabyte; nobody reads half of that.
ROWS, SLOWEST = 100, 10


def markdown_of(runs: Sequence[RecordedRun], problems: Sequence[str] = ()) -> str:
    """The summary of one run, or of several that belong together, with problems beside the tests."""
    return "\n".join([*_lines(runs, problems), ""])


def _lines(runs: Sequence[RecordedRun], problems: Sequence[str]) -> Iterator[str]:
    all_files = RunSummary(tuple(file for run in runs for file in run.summary.files))
    names = ", ".join(run.name for run in runs) if len(runs) == 1 else f"{len(runs)} runs"
    yield f"### {_plain(f'{names}: ' if names else '')}{all_files}"
    yield ""
    for problem in [*problems, *(sentence for run in runs for sentence in run.summary.unmatched)]:
        yield f"- **{_plain(problem)}**"
    yield ""
    yield from _table("what", "where", "why", rows=_failure_rows(runs))
    flaky = [(failure.where, shortened(failure.reason)) for run in runs for failure in run.summary.flaky]
    yield from _table("flaky", "at first", rows=flaky)
    yield from _table("note", "tests", rows=_note_rows(all_files))
    for run in runs:
        if run.summary.not_run:
            yield f"{_plain(run.name)} not run: {_plain(', '.join(run.summary.not_run[:ROWS]))}"
    timed = sorted((entry.seconds, f"{file.file}::{entry.test}") for file in all_files.files for entry in file.entries)
    yield from ["<details><summary>slowest tests</summary>", ""]
    slowest = [(f"{seconds:.3f}", where) for seconds, where in timed[: -SLOWEST - 1 : -1]]
    yield from _table("seconds", "test", rows=slowest)
    yield from ["</details>", ""]


def _failure_rows(runs: Sequence[RecordedRun]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (failure.label, f"{run.name}  {failure.where}" if len(runs) > 1 else failure.where, shortened(failure.reason))
        for run in runs
        for failure in failures_to_list(run.summary)
    ]
    for run in runs:
        for row in (row for file in run.summary.files for row in rows_of(file) if row.label == "interrupted"):
            rows.append((row.label, row.where, row.entry.reason))
    return rows


def _note_rows(summary: RunSummary) -> list[tuple[str, ...]]:
    noted = noted_rows(row for file in summary.files for row in rows_of(file))
    return [(shortened(note), tests[0].where if len(tests) == 1 else f"{len(tests)}") for note, tests in noted]


def _table(*heads: str, rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if not rows:
        return
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    for row in rows[:ROWS]:
        yield f"| {' | '.join(map(_plain, row))} |"
    if len(rows) > ROWS:
        yield f"| and {len(rows) - ROWS} more |{' |' * (len(heads) - 1)}"
    yield ""


def _plain(text: str) -> str:
    """The text with all of Markdown and HTML escaped, on one line."""
    one_line = "".join(character if character.isprintable() else " " for character in text)
    return re.sub(r"[^A-Za-z0-9 ./\u0080-\U0010ffff]", lambda found: f"&#{ord(found.group())};", one_line)


def append_step_summary(actions: GitHubActions, text: str) -> list[str]:
    """Add Markdown to the summary of the job; return one sentence where it could not be written."""
    if actions.step_summary is None:
        return []
    try:
        with open(actions.step_summary, "a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
    except OSError as error:
        return [f"the summary of the job could not be written to {actions.step_summary!r}: {error.strerror}"]
    return []
