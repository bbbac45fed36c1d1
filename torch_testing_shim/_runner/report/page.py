"""The HTML page of a run, or of several that belong together: one file that needs no other, and runs no script.

The page's text is in `page.html.j2`, which escapes all values; this module computes them.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template

from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim._shared.journal import RankRecord

from ..result import DID_NOT_RUN
from .progress import short_duration
from .recorded_run import RecordedRun, TestRow, grouped, noted_rows, rows_of
from .timeline import timeline_of

SLOWEST = 20
#: The most that is shown of one report or output, and of a name, in characters, half of it from each end; the rest is
#: counted.
SHOWN_CHARACTERS, NAME_CHARACTERS = 60_000, 600
#: The most failures that are shown with their reports, since a larger page is slow to open; the others are listed.
SHOWN_REPORTS = 300

#: The sequences by which a terminal changes colours and moves its cursor.
ESCAPE_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_])")
#: Characters that are invisible, or that change how the text around them reads: controls, surrogates, directions.
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


#: A row, with the name of the run that it was in; "" where there is one only.
NamedRow = tuple[str, TestRow]


def page_html(runs: Sequence[RecordedRun], exit_status: int, problems: Sequence[str] = ()) -> str:
    """The page.

    Args:
        exit_status: the verdict over all of them.
        problems: problems beside the tests, such as a report that is missing.
    """
    names = [run.name if len(runs) > 1 else "" for run in runs]
    rows = [
        (name, row)
        for name, run in zip(names, runs, strict=True)
        for file in run.summary.files
        for row in rows_of(file)
    ]
    failures = [(name, row) for name, row in rows if row.is_failure]
    told = [(name, row) for name, row in failures if row.label != DID_NOT_RUN]
    return _template().render(
        title="passed" if exit_status == 0 else _verdict(exit_status),
        is_green=exit_status == 0,
        problems=[*problems, *(sentence for run in runs for sentence in run.summary.unmatched)],
        totals=list(_totals(runs, rows)),
        runs=runs,
        failures=told[:SHOWN_REPORTS],
        more_failures=told[SHOWN_REPORTS:],
        did_not_run=[(name, row) for name, row in failures if row.label == DID_NOT_RUN],
        flaky=[(name, row) for name, row in rows if row.is_flaky],
        slowest=_slowest(rows),
        skips=grouped((row.entry.reason or "no reason", row) for _, row in rows if row.is_skip),
        notes=noted_rows(row for _, row in rows),
        files=[(run, file) for run in runs for file in run.summary.files],
        timelines=[timeline_of(run) for run in runs],
    )


def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        visible=visible, whole=whole, date=_date, duration=short_duration, worst_first=_worst_first
    )
    return environment.from_string(resources.files(__package__).joinpath("page.html.j2").read_text("utf-8"))


def visible(text: object, most: int = NAME_CHARACTERS) -> str:
    """A name in which each invisible character is shown by its number."""
    return UNSEEN.sub(
        lambda found: f"<U+{ord(found.group()):04X}>",
        ESCAPE_SEQUENCE.sub("", _both_ends(str(text), most).replace("\r\n", "\n")),
    )


def whole(text: str) -> str:
    """A report or an output in the same way."""
    return visible(text, SHOWN_CHARACTERS)


def _both_ends(text: str, most: int) -> str:
    """Both ends of a text that is too long for a page, and the number of characters between them."""
    left_out = len(text) - most
    if left_out <= 0:
        return text
    half = most // 2
    return f"{text[:half]}\n... {left_out} characters are left out here ...\n{text[-half:]}"


def _date(seconds: float) -> str:
    """A time in words; the page may be read in another time zone, so it is UTC."""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return "not known"


def _verdict(exit_status: int) -> str:
    try:
        return ExitStatus(exit_status).name.lower().replace("_", " ")
    except ValueError:
        return f"exit status {exit_status}"


def _worst_first(ranks: Sequence[RankRecord]) -> list[RankRecord]:
    """Ranks that ended badly before the others, the earliest of these first."""
    return sorted(ranks, key=lambda rank: (rank.status in ("passed", "skipped"), rank.started_at + rank.seconds))


def _totals(runs: Sequence[RecordedRun], rows: Sequence[NamedRow]) -> Iterator[tuple[str, int]]:
    """The counts in the head of the page; passed, failed and skipped as in the last line of the output."""
    files = [file for run in runs for file in run.summary.files]
    yield "passed", sum(file.passed for file in files)
    yield "failed", sum(file.failed for file in files)
    yield "skipped", sum(file.skipped for file in files)
    if flaky := sum(row.is_flaky for _, row in rows):
        yield "flaky", flaky
    if not_run := sum(len(run.summary.not_run) for run in runs):
        yield "files not run", not_run


def _slowest(rows: Sequence[NamedRow]) -> list[NamedRow]:
    """The tests that took longest; the runner's own findings have no time."""
    timed = [found for found in rows if found[1].entry.seconds]
    return sorted(timed, key=lambda found: -found[1].entry.seconds)[:SLOWEST]
