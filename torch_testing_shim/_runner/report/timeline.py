"""The bars of a run's timeline: a lane for each file, with its tests and their ranks. Pure.

A lane has the file's process on top, its tests below, and a thin row for each rank below these. Lengths are in a
thousandth of the run's time across and in pixels down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch_testing_shim._shared.journal import JournalEntry

from ..result import FileResult
from .recorded_run import RecordedRun, TestRow, rows_of

WIDTH = 1000.0
#: Heights of the rows of a lane, with the gap below each, in pixels.
FILE_HEIGHT, TEST_HEIGHT, RANK_HEIGHT, GAP = 6.0, 12.0, 4.0, 1.0
#: The least width of a bar, so that a test of a millisecond is visible.
LEAST_WIDTH = 1.5
#: The most bars of a timeline: browsers are slow with more, and nobody reads them. Rank rows are left out first.
MOST_BARS = 12_000
#: The place of the last tick, in percent: its text stands to its right.
LAST_TICK = 96.0
#: The most ticks of the axis, and the distances between them, in seconds.
MOST_TICKS = 10
SHORT_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30)
STEPS = (*SHORT_STEPS, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True)
class Bar:
    """A rectangle; `kind` is its class in the page's style, `title` its text under the pointer."""

    left: float
    width: float
    top: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True)
class Lane:
    """One file."""

    name: str
    is_failure: bool
    height: float
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Tick:
    """A mark on the axis: its distance from the left, in percent, and its text."""

    left: float
    text: str


@dataclass(frozen=True)
class Timeline:
    """A run."""

    name: str  # the run's, "" for the only one
    lanes: tuple[Lane, ...]  # its files, in the order in which they started
    ticks: tuple[Tick, ...]  # the axis
    left_out: str = ""  # the parts that are not drawn, in words; empty where all are drawn


@dataclass(frozen=True)
class _Scale:
    """Seconds since the epoch -> the place on the timeline."""

    begin: float
    seconds: float

    def bar(self, began: float, seconds: float, top: float, height: float, kind: str, title: str) -> Bar:
        left = min(max(0.0, (began - self.begin) / self.seconds), 1.0) * WIDTH
        width = max(LEAST_WIDTH, min(seconds / self.seconds * WIDTH, WIDTH - left))
        return Bar(round(min(left, WIDTH - width), 2), round(width, 2), top, height, kind, title)


def timeline_of(run: RecordedRun) -> Timeline:
    """The timeline of a run; a file whose times are not known has no lane."""
    files = sorted((began, number, file) for number, file in enumerate(run.summary.files) if (began := _began(file)))
    begin = min([run.facts.started_at or float("inf"), *(began for began, _, _ in files)])
    end = max([run.facts.started_at + run.facts.seconds, *(began + file.ending.seconds for began, _, file in files)])
    scale = _Scale(begin, max(end - begin, 0.001))
    bars = sum(len(file.entries) + len(file.reruns) for _, _, file in files)
    ranks = sum(len(entry.ranks) for _, _, file in files for entry in (*file.entries, *file.reruns))
    has_tests, has_ranks = bars <= MOST_BARS, bars + ranks <= MOST_BARS
    lanes = tuple(_lane(scale, began, file, has_tests=has_tests, has_ranks=has_ranks) for began, _, file in files)
    left_out = "" if has_ranks else "ranks are left out, there are too many" if has_tests else "only files are drawn"
    return Timeline(run.name, lanes, tuple(_ticks(scale.seconds)), left_out)


def _began(file: FileResult) -> float:
    """The start of a file; 0 where it is not known."""
    known = [entry.started_at for entry in file.entries if entry.started_at]
    return file.ending.started_at or min(known, default=0.0)


def _lane(scale: _Scale, began: float, file: FileResult, *, has_tests: bool, has_ranks: bool) -> Lane:
    title = f"{file.file}: {file.ending.seconds:.2f} s"
    bars = [scale.bar(began, file.ending.seconds, 0.0, FILE_HEIGHT, "file", title)]
    below = FILE_HEIGHT + GAP
    rows = [row for row in rows_of(file) if row.entry.started_at] if has_tests else []
    most_ranks = 0
    for row in rows:
        for run in (row.entry, *row.reruns):
            bars.append(scale.bar(run.started_at, run.seconds, below, TEST_HEIGHT, _kind(row), _title(row, run)))
            if has_ranks:
                bars.extend(_rank_bars(scale, row, run, below + TEST_HEIGHT + GAP))
                most_ranks = max(most_ranks, len(run.ranks))
    height = below + (TEST_HEIGHT + GAP if rows else 0.0) + most_ranks * (RANK_HEIGHT + GAP)
    return Lane(file.file, bool(file.failed), height, tuple(bars))


def _rank_bars(scale: _Scale, row: TestRow, run: JournalEntry, top: float) -> Iterator[Bar]:
    for place, rank in enumerate(run.ranks):
        kind = "passed" if rank.status == "passed" else "skipped" if rank.status == "skipped" else "failed"
        title = f"{row.test} rank {rank.rank}, pid {rank.pid}: {rank.status}, {rank.seconds:.3f} s"
        at = top + place * (RANK_HEIGHT + GAP)
        yield scale.bar(rank.started_at, rank.seconds, at, RANK_HEIGHT, f"rank {kind}", title)


def _kind(row: TestRow) -> str:
    return "flaky" if row.is_flaky else "failed" if row.is_failure else "skipped" if row.is_skip else "passed"


def _title(row: TestRow, run: JournalEntry) -> str:
    return f"{row.test}: {run.status.value}, {run.seconds:.3f} s"


def _ticks(seconds: float) -> Iterator[Tick]:
    step = next((step for step in STEPS if seconds / step <= MOST_TICKS), seconds)
    for number in range(int(seconds / step) + 1):
        left = 100 * number * step / seconds
        if left <= LAST_TICK:
            yield Tick(round(left, 3), _clock(number * step))


def _clock(seconds: float) -> str:
    """ "0.2 s", "40 s", "3:20 min", "1:05:00 h"."""
    if seconds < 60:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"
