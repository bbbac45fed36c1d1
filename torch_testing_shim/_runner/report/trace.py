"""The trace of a run, for Perfetto (https://ui.perfetto.dev) and Chrome's chrome://tracing.

JSON in the trace event format: files are processes, their tests and each rank of them are tracks. Times are in
microseconds since the run started.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from torch_testing_shim._journal import JournalEntry

from ..result import FileResult
from .recorded_run import RecordedRun
from .rows import TestRow, rows_of

__all__ = ["trace_json"]

#: The tracks of a file: its process, its tests, and from here on its ranks.
PROCESS_TRACK, TEST_TRACK, FIRST_RANK_TRACK = 0, 1, 2


def trace_json(run: RecordedRun) -> str:
    """The trace as text."""
    events: list[dict[str, Any]] = []
    for number, file in enumerate(run.summary.files, start=1):
        events.extend(_file_events(number, file, run.facts.started_at))
    about = {"command": run.facts.command, "machine": run.facts.machine, "run": run.name}
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": about}) + "\n"


def _file_events(number: int, file: FileResult, begin: float) -> Iterator[dict[str, Any]]:
    """What a file's process did; events without a start time cannot be drawn and are left out."""
    yield _name("process_name", number, PROCESS_TRACK, file.file)
    yield _name("thread_name", number, PROCESS_TRACK, "file")
    if file.ending.started_at:
        details = {"exit code": file.ending.exit_code, "failed": file.failed}
        yield _span(number, PROCESS_TRACK, file.file, file.ending.started_at - begin, file.ending.seconds, details)
    runs = [(row, run) for row in rows_of(file) for run in (row.entry, *row.reruns) if run.started_at]
    if runs:
        yield _name("thread_name", number, TEST_TRACK, "tests")
    for rank in sorted({rank.rank for _, run in runs for rank in run.ranks}):
        yield _name("thread_name", number, FIRST_RANK_TRACK + rank, f"rank {rank}")
    for row, run in runs:
        yield from _test_events(number, row, run, begin)


def _test_events(number: int, row: TestRow, run: JournalEntry, begin: float) -> Iterator[dict[str, Any]]:
    details = {"status": run.status.value, "result": row.label, "reason": run.reason}
    yield _span(number, TEST_TRACK, row.test, run.started_at - begin, run.seconds, details)
    for rank in run.ranks:
        said = {"status": rank.status, "pid": rank.pid, "exit code": rank.exit_code, "headline": rank.headline}
        track = FIRST_RANK_TRACK + rank.rank
        yield _span(number, track, f"{row.test} ({rank.status})", rank.started_at - begin, rank.seconds, said)


def _name(kind: str, process: int, track: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": track, "args": {"name": name}}


def _span(process: int, track: int, name: str, begin: float, seconds: float, details: dict[str, Any]) -> dict[str, Any]:
    times = {"ts": round(begin * 1e6), "dur": round(seconds * 1e6)}
    return {"ph": "X", "cat": "test", "name": name, "pid": process, "tid": track, **times, "args": details}
