"""The journal: one JSON line as each test starts and as it ends.

A test file's process writes it (where TORCH_TESTING_SHIM_JOURNAL names a path), the runner reads it. Lines are
appended by one `write` each, so what was written before a process died stays readable, and a test that started
and never ended was running then. This module and `journal_reading` are all that the two processes share.

    {"event": "plan",   "tests": ["Class.test_a", "Class.test_b"], "device": "cpu", "left_out": 3}
    {"event": "start",  "test": "Class.test_a"}
    {"event": "end",    "test": "Class.test_a", "status": "failed", "seconds": 1.25, "reason": "...", "detail": "...",
                        "started_at": 1750000000.5, "ranks": [{"rank": 0, "status": "failed", ...}], "notes": ["..."]}
    {"event": "interrupt", "test": "Class.test_b", "reason": "...", "detail": "..."}
    {"event": "finish"}

Of a `plan`, `device` and `left_out` may be missing, of an `end`, `started_at`, `ranks` and `notes`; the fields of a
rank are those of `RankRecord`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from enum import Enum


class TestStatus(Enum):
    """The outcome of a test. The values stand in the journal; label and predicates belong to the state."""

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
    """The end of one rank of a test."""

    rank: int
    status: str  # how it ended, in one word: "passed", "skipped", "failed", "errored", "died", "hung", ...
    pid: int = 0  # its process id; 0 where it is not known
    started_at: float = 0.0  # when it was started, in seconds since the epoch
    seconds: float = 0.0  # from there to its end
    exit_code: int | None = None  # its exit code; negative for the signal that ended it; None where it was not seen
    headline: str = ""  # the exception's type and first line, or the reason of a skip; empty where there is none
    output: str = ""  # the last lines that it printed; empty where the test passed
    host: str = ""  # the host that it ran on, where torchrun has started it; else empty


@dataclass(frozen=True)
class JournalEntry:
    """One finished test."""

    test: str  # "Class.method" (a nested class is "Outer.Inner.method")
    status: TestStatus
    seconds: float  # wall time, set-up and tear-down included
    reason: str = ""  # one line: the skip reason or the headline of the failure; empty for a pass
    detail: str = ""  # the whole report of a failure, as printed; empty otherwise
    started_at: float = 0.0  # when it started, in seconds since the epoch; 0 where that is not known
    ranks: tuple[RankRecord, ...] = ()  # its ranks, in their order; empty for a test without ranks
    notes: tuple[str, ...] = ()  # lines to report whatever the status, for example what the test has left behind


def record_of_end(entry: JournalEntry) -> dict[str, object]:
    """The object of an `end` line."""
    return {
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


@dataclass(frozen=True)
class JournalContents:
    """The contents of a journal."""

    planned: tuple[str, ...] = ()  # the tests that were to run, in order; empty where the process died before it knew
    entries: tuple[JournalEntry, ...] = ()  # the tests that ended, in order of ending
    unfinished: tuple[str, ...] = ()  # the tests that started and never ended, in order of starting
    is_finished: bool = False  # the process wrote its last line, so nothing is missing
    broken_lines: int = 0  # how many lines could not be read
    device: str = ""  # the device type that the tests run on; "" while the process has not said it
    interrupted: tuple[JournalEntry, ...] = ()  # the unfinished tests that were interrupted, with where they stood
    left_out: int = 0  # how many tests `--hw-classification` has left out


@dataclass(frozen=True)
class Journal:
    """Appends to the journal at `path`; the file is created with the first line."""

    path: str | os.PathLike[str]

    def plan(self, tests: list[str], device: str = "", left_out: int = 0) -> None:
        """Write which tests are to run, on which device type, and how many `--hw-classification` has left out. More
        calls add to it."""
        more = {name: value for name, value in (("device", device), ("left_out", left_out)) if value}
        self._append({"event": "plan", "tests": tests, **more})

    def start(self, test: str) -> None:
        """Write that `test` starts now."""
        self._append({"event": "start", "test": test})

    def end(self, entry: JournalEntry) -> None:
        """Write how a test ended."""
        self._append(record_of_end(entry))

    def interrupt(self, entry: JournalEntry) -> None:
        """Write where a test stood when the run was interrupted; it has not ended."""
        self._append({"event": "interrupt", "test": entry.test, "reason": entry.reason, "detail": entry.detail})

    def finish(self) -> None:
        """Write that all that was to run has run."""
        self._append({"event": "finish"})

    def _append(self, record: dict[str, object]) -> None:
        line = json.dumps(record, ensure_ascii=True) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line.encode("ascii"))
        finally:
            os.close(descriptor)
