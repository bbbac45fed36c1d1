"""The trace of a run, for Perfetto (https://ui.perfetto.dev) and Chrome's chrome://tracing.

JSON in the trace event format: files are processes; their tests, and each rank of these, are tracks. Tests that ran at
the same time, as in a file in parts, have separate tracks. Times are in microseconds since the run started.

Perfetto takes a track's number as a thread's: no two processes share one, and the first of a process is its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from torch_testing_shim._shared.journal import JournalEntry

from ..result import FileResult
from .recorded_run import RecordedRun, TestRow, rows_of

#: The first process's number; 0 is the system's own.
FIRST_NUMBER = 1


def trace_json(run: RecordedRun) -> str:
    """The trace as text."""
    events: list[dict[str, Any]] = []
    number = FIRST_NUMBER
    for file in run.summary.files:
        tracks = _Tracks(number)
        spans = list(_spans(file, tracks, run.facts.started_at))
        events += [_name("process_name", number, number, file.file), *tracks.names(), *spans]
        number += len(tracks)
    about = {"command": run.facts.command, "machine": run.facts.machine, "run": run.name}
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": about}) + "\n"


class _Tracks:
    """The tracks of one file's process, numbered as they are asked for; the first is the file's own."""

    def __init__(self, process: int) -> None:
        self.process = process
        self._numbers = {"file": process}

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, name: str) -> int:
        return self._numbers.setdefault(name, self.process + len(self._numbers))

    def names(self) -> Iterator[dict[str, Any]]:
        for name, number in self._numbers.items():
            yield _name("thread_name", self.process, number, name)

    def span(self, track: str, name: str, began: float, seconds: float, details: dict[str, Any]) -> dict[str, Any]:
        times = {"ts": round(began * 1e6), "dur": round(seconds * 1e6)}
        place = {"pid": self.process, "tid": self.number(track)}
        return {"ph": "X", "cat": "test", "name": name, **place, **times, "args": details}


def _spans(file: FileResult, tracks: _Tracks, begin: float) -> Iterator[dict[str, Any]]:
    """The spans of a file's process; tests without a start time cannot be drawn and are left out."""
    if file.ending.started_at:
        details = {"exit code": file.ending.exit_code, "failed": file.failed}
        yield tracks.span("file", file.file, file.ending.started_at - begin, file.ending.seconds, details)
    runs = [(row, run) for row in rows_of(file) for run in (row.entry, *row.reruns) if run.started_at]
    for (row, run), lane in _in_lanes(runs):
        yield from _test_spans(tracks, row, run, begin, f" ({lane + 1})" if lane else "")


def _in_lanes(runs: Sequence[tuple[TestRow, JournalEntry]]) -> Iterator[tuple[tuple[TestRow, JournalEntry], int]]:
    """Each run of a test, as they started, with the first lane in which none still ran then."""
    ends: list[float] = []
    for row, run in sorted(runs, key=lambda pair: pair[1].started_at):
        lane = next((lane for lane, end in enumerate(ends) if end <= run.started_at), len(ends))
        ends[lane : lane + 1] = [run.started_at + run.seconds]
        yield (row, run), lane


def _test_spans(tracks: _Tracks, row: TestRow, run: JournalEntry, begin: float, lane: str) -> Iterator[dict[str, Any]]:
    details = {"status": run.status.value, "result": row.label, "reason": run.reason}
    yield tracks.span(f"tests{lane}", row.test, run.started_at - begin, run.seconds, details)
    for rank in sorted(run.ranks, key=lambda rank: rank.rank):
        said = {"status": rank.status, "pid": rank.pid, "exit code": rank.exit_code, "headline": rank.headline}
        name = f"{row.test} ({rank.status})"
        yield tracks.span(f"rank {rank.rank}{lane}", name, rank.started_at - begin, rank.seconds, said)


def _name(kind: str, process: int, track: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": track, "args": {"name": name}}
