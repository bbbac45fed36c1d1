"""JSON lines: one record on each line, for programs. A merged report is made from these alone.

    {"record": "run",  "version": 1, "started_at", "seconds", "exit_status", "command", "machine", "shard",
                       "stopped_by", "deadline", "not_run", "unmatched"}
    {"record": "file", "version": 1, "file", "exit_code", "started_at", "seconds", "is_stopped", "processes_left",
                       "seconds_allowed", "is_refusal", "flaky_fails", "device", "output_tail", "passed", "failed",
                       "skipped"}
    {"record": "test", "version": 1, "file", "test", "attempt", "status", "result", "started_at", "seconds", "reason",
                       "detail", "notes", "ranks"}
    {"record": "rank", "version": 1, "file", "test", "attempt", "rank", "status", "pid", "started_at", "seconds",
                       "exit_code", "headline", "output"}
    {"record": "fault", "version": 1, "file", "test", "label", "reason", "detail"}
    {"record": "interrupted", "version": 1, "file", "test", "reason", "detail"}
    {"record": "end",  "version": 1, "records"}

Every record has both first fields. The run comes first, then each file with its tests, each test with its ranks, the
runner's own findings ("fault") and the interrupted tests. The end comes last, with the number of records before it, so
that a torn file can be told from a whole one. Times are in seconds, `started_at` since the epoch (0: not known).
`attempt` is 0 for a test's first run and counts its reruns. `result` is the test's result after all its attempts:
"passed", "failed", "error", "skipped", "flaky" and so on; `status` is the end of this attempt. `ranks` is the number of
rank records that follow. New fields may be added; `version` changes when one is removed or changes its meaning.
"""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch_testing_shim._shared.journal import JournalEntry, RankRecord, TestStatus
from torch_testing_shim._shared.records import read_record

from ..result import Failure, FileEnding, FileResult, RunSummary
from .recorded_run import RecordedRun, RunFacts, rows_of

VERSION = 1
#: Nobody has more machines than this; a larger number of shards is a broken record.
MOST_SHARDS = 10_000

#: The fields of a file's result that records after the file's own fill.
_NOTHING_YET: dict[str, Any] = dict.fromkeys(("entries", "faults", "interrupted", "reruns"), ())


class RecordsError(ValueError):
    """The text is not a whole report; the message says why, in a few words."""


def to_json_lines(run: RecordedRun) -> Iterator[str]:
    """The lines of a run's report, each with its end."""
    records = list(_records(run))
    for record in (*records, {"record": "end", "records": len(records)}):
        yield json.dumps({"record": record["record"], "version": VERSION, **record}) + "\n"


def _records(run: RecordedRun) -> Iterator[dict[str, Any]]:
    facts, summary = run.facts, run.summary
    stopped_by = summary.stopped_by.name if summary.stopped_by else None
    yield {
        "record": "run",
        **asdict(facts),
        "stopped_by": stopped_by,
        "deadline": summary.deadline,
        "not_run": summary.not_run,
        "unmatched": summary.unmatched,
    }
    for result in summary.files:
        yield from _file_records(result)


def _file_records(result: FileResult) -> Iterator[dict[str, Any]]:
    counts = {"passed": result.passed, "failed": result.failed, "skipped": result.skipped}
    flags = {"is_refusal": result.is_refusal, "flaky_fails": result.flaky_fails, "device": result.device}
    yield {"record": "file", **asdict(result.ending), **flags, **counts}
    where = {"file": result.file}
    outcomes = [row.label for row in rows_of(result)]  # the entries' rows come first, one for one
    attempts = [(0, entry) for entry in result.entries]
    again = Counter[str]()
    for rerun in result.reruns:
        again[rerun.test] += 1
        attempts.append((again[rerun.test], rerun))
    labels = {row.test: row.label for row in rows_of(result)}
    for place, (attempt, entry) in enumerate(attempts):
        label = outcomes[place] if attempt == 0 else labels.get(entry.test, entry.status.value)
        fields = {**vars(entry), "status": entry.status.value, "ranks": len(entry.ranks)}
        yield {"record": "test", **where, "attempt": attempt, **fields, "result": label}
        for rank in entry.ranks:
            yield {"record": "rank", **where, "test": entry.test, "attempt": attempt, **asdict(rank)}
    for fault in result.faults:
        yield {"record": "fault", **asdict(fault)}
    for entry in result.interrupted:
        yield {"record": "interrupted", **where, "test": entry.test, "reason": entry.reason, "detail": entry.detail}


def read_json_lines(lines: Iterable[str | bytes]) -> RecordedRun:
    """Read the lines of `to_json_lines`.

    Raises:
        RecordsError: the text is something else, or torn.
    """
    reading: _Reading | None = None
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if record["version"] != VERSION:
                raise RecordsError(f"its version is {record['version']!r}, not {VERSION}")
            if reading is None:
                reading = _Reading(record)
            else:
                reading.take(record)
        except RecordsError:
            raise
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            raise RecordsError(f"line {number} is no record of a run") from error
    if reading is None:
        raise RecordsError("it is empty")
    return reading.run()


class _Reading:
    """The part of a report that has been read so far."""

    def __init__(self, run: dict[str, Any]) -> None:
        if run["record"] != "run":
            raise ValueError(run["record"])
        shard = run["shard"]
        if shard is not None and not 1 <= shard[0] <= shard[1] <= MOST_SHARDS:
            raise ValueError(shard)
        self._facts = read_record(RunFacts, run, shard=None if shard is None else (int(shard[0]), int(shard[1])))
        self._summary = RunSummary(
            not_run=tuple(map(str, run["not_run"])),
            stopped_by=None if run["stopped_by"] is None else signal.Signals[run["stopped_by"]],
            deadline=None if run["deadline"] is None else float(run["deadline"]),
            unmatched=tuple(map(str, run.get("unmatched", ()))),
        )
        self._files: list[_FileReading] = []
        self._count, self._is_whole = 1, False

    def take(self, record: dict[str, Any]) -> None:
        kind = record["record"]
        if self._is_whole:
            raise ValueError("nothing comes after the end")
        if kind == "end":
            if record["records"] != self._count:
                raise RecordsError(f"it has {self._count} records, and was written with {record['records']}")
            self._is_whole = True
            return
        self._count += 1
        if kind == "file":
            result = read_record(FileResult, record, ending=read_record(FileEnding, record), **_NOTHING_YET)
            self._files.append(_FileReading(result))
        else:
            self._files[-1].take(kind, record)

    def run(self) -> RecordedRun:
        if not self._is_whole:
            raise RecordsError("its end is missing")
        files = tuple(file.whole() for file in self._files)
        return RecordedRun(self._facts, replace(self._summary, files=files))


@dataclass
class _FileReading:
    """The part of one file's records that has been read so far."""

    result: FileResult
    entries: list[JournalEntry] = field(default_factory=list)
    reruns: list[JournalEntry] = field(default_factory=list)
    faults: list[Failure] = field(default_factory=list)
    interrupted: list[JournalEntry] = field(default_factory=list)

    def take(self, kind: str, record: dict[str, Any]) -> None:
        if record["file"] != self.result.file:
            raise ValueError(record["file"])
        if kind == "test":
            self.tests = self.reruns if record["attempt"] else self.entries
            status, notes = TestStatus(record["status"]), tuple(map(str, record["notes"]))
            self.tests.append(read_record(JournalEntry, record, status=status, notes=notes, ranks=()))
        elif kind == "rank":
            test = self.tests[-1]
            self.tests[-1] = replace(test, ranks=(*test.ranks, read_record(RankRecord, record)))
        elif kind == "fault":
            self.faults.append(read_record(Failure, record))
        elif kind == "interrupted":
            entry = read_record(JournalEntry, record, status=TestStatus.ERROR, seconds=0.0)
            self.interrupted.append(entry)
        else:
            raise ValueError(kind)

    def whole(self) -> FileResult:
        return replace(
            self.result,
            entries=tuple(self.entries),
            reruns=tuple(self.reruns),
            faults=tuple(self.faults),
            interrupted=tuple(self.interrupted),
        )
