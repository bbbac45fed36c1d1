"""The journal: one JSON line as each test starts and as it ends.

A test file's process writes it (where TORCH_TESTING_SHIM_JOURNAL names a path), the runner reads it. Lines are
appended by one `write` each, so what was written before a process died stays readable, and a test that started
and never ended is the one that was running then. This module is all that both halves share: it imports nothing
but the standard library.

    {"event": "plan",   "tests": ["Class.test_a", "Class.test_b"], "device": "cpu"}
    {"event": "start",  "test": "Class.test_a"}
    {"event": "end",    "test": "Class.test_a", "status": "failed", "seconds": 1.25, "reason": "...", "detail": "...",
                        "started_at": 1750000000.5, "ranks": [{"rank": 0, "status": "failed", ...}], "notes": ["..."]}
    {"event": "finish"}

Of a `plan`, `device` may be missing, of an `end`, `started_at`, `ranks` and `notes`; the fields of a rank are those of
`RankRecord`.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["Journal", "JournalContents", "JournalEntry", "JournalReader", "RankRecord", "TestStatus", "read_journal"]


class TestStatus(Enum):
    """How a test ended. The value is what stands in the journal; label and predicates belong to the state."""

    __test__ = False  # not a test class, whatever pytest makes of its name

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    EXPECTED_FAILURE = "expected failure"
    UNEXPECTED_SUCCESS = "unexpected success"

    @property
    def is_failure(self) -> bool:
        """True where the run must not be green."""
        return self in (TestStatus.FAILED, TestStatus.ERROR, TestStatus.UNEXPECTED_SUCCESS)

    @property
    def is_skip(self) -> bool:
        return self is TestStatus.SKIPPED

    @property
    def is_pass(self) -> bool:
        """True for a pass and for a failure that was expected."""
        return self in (TestStatus.PASSED, TestStatus.EXPECTED_FAILURE)


@dataclass(frozen=True)
class RankRecord:
    """How one rank of a test ended.

    Attributes:
        rank: the rank.
        status: how it ended, in one word: "passed", "skipped", "failed", "errored", "died", "hung", ...
        pid: its process id; 0 where it is not known.
        started_at: when it was started, in seconds since the epoch.
        seconds: from there to its end.
        exit_code: its exit code; negative for the signal that ended it; None where it was not seen.
        headline: the exception's type and first line, or the reason of a skip; empty where there is none.
        output: the last lines that it printed; empty where the test passed.
    """

    rank: int
    status: str
    pid: int = 0
    started_at: float = 0.0
    seconds: float = 0.0
    exit_code: int | None = None
    headline: str = ""
    output: str = ""


@dataclass(frozen=True)
class JournalEntry:
    """One finished test.

    Attributes:
        test: "Class.method" (a nested class is "Outer.Inner.method").
        status: how it ended.
        seconds: wall time, set-up and tear-down included.
        reason: one line: the skip reason or the headline of the failure; empty for a pass.
        detail: the whole report of a failure, as printed; empty otherwise.
        started_at: when it started, in seconds since the epoch; 0 where that is not known.
        ranks: its ranks, in their order; empty for a test without ranks.
        notes: what else is to be told of it, a line each, whatever its status: what it has left behind.
    """

    test: str
    status: TestStatus
    seconds: float
    reason: str = ""
    detail: str = ""
    started_at: float = 0.0
    ranks: tuple[RankRecord, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class JournalContents:
    """What a journal says.

    Attributes:
        planned: the tests that were to run, in order; empty where the process died before it knew.
        entries: the tests that ended, in order of ending.
        unfinished: the tests that started and never ended, in order of starting.
        is_finished: the process wrote its last line, so nothing is missing.
        broken_lines: how many lines could not be read.
        device: the device type that the tests run on; "" where the process has not told.
    """

    planned: tuple[str, ...] = ()
    entries: tuple[JournalEntry, ...] = ()
    unfinished: tuple[str, ...] = ()
    is_finished: bool = False
    broken_lines: int = 0
    device: str = ""


@dataclass(frozen=True)
class Journal:
    """Appends to the journal at `path`; the file is created with the first line."""

    path: str | os.PathLike[str]

    def plan(self, tests: list[str], device: str = "") -> None:
        """Says which tests are to run, and on which device type. More calls add to it."""
        self._append({"event": "plan", "tests": tests, **({"device": device} if device else {})})

    def start(self, test: str) -> None:
        """Says that `test` starts now."""
        self._append({"event": "start", "test": test})

    def end(self, entry: JournalEntry) -> None:
        """Says how a test ended."""
        self._append(
            {
                "event": "end",
                "test": entry.test,
                "status": entry.status.value,
                "seconds": round(entry.seconds, 6),
                "reason": entry.reason,
                "detail": entry.detail,
                "started_at": round(entry.started_at, 6),
                "ranks": [vars(rank) for rank in entry.ranks],
                "notes": list(entry.notes),
            }
        )

    def finish(self) -> None:
        """Says that all that was to run has run."""
        self._append({"event": "finish"})

    def _append(self, record: dict[str, object]) -> None:
        line = json.dumps(record, ensure_ascii=True) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line.encode("ascii"))
        finally:
            os.close(descriptor)


@dataclass
class _Reading:
    planned: list[str] = field(default_factory=list)
    entries: list[JournalEntry] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    is_finished: bool = False
    broken_lines: int = 0
    device: str = ""

    def take_line(self, line: bytes) -> None:
        """Takes a line, or counts it as broken; an empty one says nothing."""
        if not line:
            return
        try:
            self._take(json.loads(line))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            self.broken_lines += 1

    def contents(self) -> JournalContents:
        return JournalContents(
            tuple(self.planned),
            tuple(self.entries),
            tuple(self.running),
            self.is_finished,
            self.broken_lines,
            self.device,
        )

    def _take(self, record: dict[str, object]) -> None:
        event = record["event"]
        if event == "plan":
            self.planned.extend(str(test) for test in record["tests"])  # type: ignore[attr-defined]
            self.device = str(record.get("device", self.device))
        elif event == "start":
            self.running.append(str(record["test"]))
        elif event == "end":
            entry = _entry(record)
            self.entries.append(entry)
            if entry.test in self.running:
                self.running.remove(entry.test)
        elif event == "finish":
            self.is_finished = True
        else:
            raise ValueError(event)


def _entry(record: dict[str, object]) -> JournalEntry:
    return JournalEntry(
        test=str(record["test"]),
        status=TestStatus(record["status"]),
        seconds=_number(record["seconds"]),
        reason=str(record["reason"]),
        detail=str(record["detail"]),
        started_at=_number(record.get("started_at", 0.0)),
        ranks=tuple(_rank_record(rank) for rank in record.get("ranks", ())),  # type: ignore[attr-defined]
        notes=tuple(str(note) for note in record.get("notes", ())),  # type: ignore[attr-defined]
    )


def _rank_record(record: dict[str, object]) -> RankRecord:
    """Takes nothing on trust: a value of another type makes the line a broken one.

    Raises:
        KeyError, TypeError, ValueError: this is not the record of a rank.
    """
    made = RankRecord(**record)  # type: ignore[arg-type]
    if not all(isinstance(text, str) for text in (made.status, made.headline, made.output)):
        raise TypeError(record)
    for value in (made.rank, made.pid, made.started_at, made.seconds, made.exit_code or 0):
        _number(value)
    return made


def _number(value: object) -> float:
    """A finite number, as reports can draw it.

    Raises:
        TypeError, ValueError, OverflowError: it is none.
    """
    if not isinstance(value, int | float):
        raise TypeError(value)
    if not math.isfinite(value):
        raise ValueError(value)
    return float(value)


class JournalReader:
    """Reads a journal that is still being written, each line once.

    Args:
        path: the journal's path; where there is no file yet, the journal is empty.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._offset = 0
        self._torn = b""
        self._reading = _Reading()

    def read(self) -> JournalContents:
        """What the journal says by now. A last line that has no end yet is left for the next call."""
        try:
            with open(self._path, "rb") as stream:
                stream.seek(self._offset)
                new = stream.read()
        except FileNotFoundError:
            return self._reading.contents()
        self._offset += len(new)
        *lines, self._torn = (self._torn + new).split(b"\n")
        for line in lines:
            self._reading.take_line(line)
        return self._reading.contents()

    def read_to_end(self) -> JournalContents:
        """What a journal says that nobody writes to any more: its last line counts, whole or torn."""
        self.read()
        self._reading.take_line(self._torn)
        self._torn = b""
        return self._reading.contents()


def read_journal(path: str | os.PathLike[str]) -> JournalContents:
    """Reads a journal, also a torn one. A file that is not there is an empty journal; lines that are no journal
    lines are counted in `broken_lines`, and the others still count."""
    return JournalReader(path).read_to_end()
