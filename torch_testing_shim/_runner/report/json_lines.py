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

import dataclasses
import json
import math
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from torch_testing_shim._shared.journal import JournalEntry, RankRecord, TestStatus

from ..result import Failure, FileEnding, FileResult, RunSummary
from .recorded_run import RecordedRun, RunFacts, rows_of

VERSION = 1
#: Nobody has more machines than this; a larger number of shards is a broken record.
MOST_SHARDS = 10_000

Made = TypeVar("Made")

#: The annotation of a dataclass's field -> the types of its values in a record.
TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (int, float),
    "float | None": (int, float, type(None)),
}


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
        yield {"record": "test", **where, "attempt": attempt, **_test_fields(entry), "result": label}
        for rank in entry.ranks:
            yield {"record": "rank", **where, "test": entry.test, "attempt": attempt, **asdict(rank)}
    for fault in result.faults:
        yield {"record": "fault", **asdict(fault)}
    for entry in result.interrupted:
        yield {"record": "interrupted", **where, "test": entry.test, "reason": entry.reason, "detail": entry.detail}


def _test_fields(entry: JournalEntry) -> dict[str, Any]:
    return {**vars(entry), "status": entry.status.value, "ranks": len(entry.ranks)}


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
        self._facts = RunFacts(
            started_at=float(run["started_at"]),
            seconds=float(run["seconds"]),
            exit_status=int(run["exit_status"]),
            command=str(run["command"]),
            machine=str(run["machine"]),
            shard=None if shard is None else (int(shard[0]), int(shard[1])),
        )
        self._stopped_by = None if run["stopped_by"] is None else signal.Signals[run["stopped_by"]]
        self._deadline = None if run["deadline"] is None else float(run["deadline"])
        self._not_run = tuple(str(name) for name in run["not_run"])
        self._unmatched = tuple(str(sentence) for sentence in run.get("unmatched", ()))
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
            ending = _of(FileEnding, record)
            flags = bool(record["is_refusal"]), bool(record["flaky_fails"])
            self._files.append(_FileReading(ending, *flags, str(record.get("device", ""))))
        else:
            self._files[-1].take(kind, record)

    def run(self) -> RecordedRun:
        if not self._is_whole:
            raise RecordsError("its end is missing")
        files = tuple(file.result() for file in self._files)
        summary = RunSummary(files, self._not_run, self._stopped_by, deadline=self._deadline, unmatched=self._unmatched)
        return RecordedRun(self._facts, summary)


@dataclass
class _FileReading:
    """The part of one file's records that has been read so far."""

    ending: FileEnding
    is_refusal: bool
    flaky_fails: bool
    device: str
    tests: list[_TestReading] = field(default_factory=list)
    faults: list[Failure] = field(default_factory=list)
    interrupted: list[JournalEntry] = field(default_factory=list)

    def take(self, kind: str, record: dict[str, Any]) -> None:
        if record["file"] != self.ending.file:
            raise ValueError(record["file"])
        if kind == "test":
            notes = tuple(str(note) for note in record["notes"])
            entry = _of(JournalEntry, {**record, "status": TestStatus(record["status"]), "ranks": (), "notes": notes})
            self.tests.append(_TestReading(entry, bool(record["attempt"])))
        elif kind == "rank":
            self.tests[-1].ranks.append(_of(RankRecord, record))
        elif kind == "fault":
            self.faults.append(_of(Failure, record))
        elif kind == "interrupted":
            reason, detail = (str(record.get(name, "")) for name in ("reason", "detail"))
            self.interrupted.append(JournalEntry(str(record["test"]), TestStatus.ERROR, 0.0, reason, detail))
        else:
            raise ValueError(kind)

    def result(self) -> FileResult:
        return FileResult(
            self.ending,
            entries=tuple(test.entry() for test in self.tests if not test.is_rerun),
            faults=tuple(self.faults),
            interrupted=tuple(self.interrupted),
            is_refusal=self.is_refusal,
            flaky_fails=self.flaky_fails,
            device=self.device,
            reruns=tuple(test.entry() for test in self.tests if test.is_rerun),
        )


@dataclass
class _TestReading:
    without_ranks: JournalEntry
    is_rerun: bool
    ranks: list[RankRecord] = field(default_factory=list)

    def entry(self) -> JournalEntry:
        return replace(self.without_ranks, ranks=tuple(self.ranks))


def _of(kind: Callable[..., Made], record: dict[str, Any]) -> Made:
    """Make the dataclass `kind` of a record's fields of the same names; ignore other fields.

    Raises:
        TypeError, ValueError: a value does not fit its field.
    """
    wanted = {field.name: str(field.type) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name, types in wanted.items():
        if types in TYPES and not isinstance(record[name], TYPES[types]):
            raise TypeError(f"{name} is {record[name]!r}")
        if isinstance(record[name], float) and not math.isfinite(record[name]):
            raise ValueError(f"{name} is {record[name]!r}")
    return kind(**{name: record[name] for name in wanted})
