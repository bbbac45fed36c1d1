"""A run's record of its tests: one entry for each, written to the journal as it comes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from torch_testing_shim._program.options import UsageError
from torch_testing_shim._shared.journal import Journal, JournalEntry, RankRecord, TestStatus
from torch_testing_shim._shared.settings import read_settings

#: The reason of a failure by an unexpected pass.
UNEXPECTED_SUCCESS = "the test passed, though it is marked as an expected failure"


class TestLog:
    """The entries of a run.

    Raises:
        UsageError: from every method that adds something, where the journal cannot be written.
    """

    __test__ = False  # not a test class, whatever pytest makes of its name

    def __init__(self, journal: Journal | None = None) -> None:
        devices = read_settings().device_map
        self._marks = (devices.mark,) if devices is not None else ()
        self.planned: list[str] = []  # names of the tests that were to run
        self.entries: list[JournalEntry] = []  # one per test that ended, in order
        self.interrupted: list[JournalEntry] = []  # one per test that was interrupted, with where it stood
        self._journal = journal

    def plan(self, names: Sequence[str], device: str = "", left_out: int = 0) -> None:
        """Record which tests are to run, on which device type, and how many the choice by hardware has left out."""
        self.planned.extend(names)
        self._write(lambda journal: journal.plan(list(names), device, left_out))

    def left(self, names: Sequence[str]) -> Sequence[str]:
        """Return which tests of one repetition are to run: under torchrun, some may have run before a restart."""
        return names

    def start(self, name: str) -> None:
        """Record the start of a test."""
        self._write(lambda journal: journal.start(name))

    def end(self, entry: JournalEntry) -> None:
        """Record a test that has ended."""
        entry = replace(entry, notes=tuple(dict.fromkeys((*self._marks, *entry.notes))))
        self.entries.append(entry)
        self._write(lambda journal: journal.end(entry))

    def interrupt(self, name: str, report: str, detail: str) -> None:
        """Record where a test stood when the run was interrupted.

        Args:
            report: the report over its ranks; "" where there is none.
            detail: that report, or else where the test itself stood.
        """
        entry = JournalEntry(name, TestStatus.ERROR, 0.0, report.partition("\n")[0], detail)
        self.interrupted.append(entry)
        self._write(lambda journal: journal.interrupt(entry))

    def finish(self) -> None:
        """Record the end of the run."""
        self._write(lambda journal: journal.finish())

    def _write(self, write: Callable[[Journal], None]) -> None:
        if self._journal is None:
            return
        try:
            write(self._journal)
        except OSError as error:
            raise UsageError(f"cannot write the journal {self._journal.path}: {error.strerror}") from None

    @property
    def has_failures(self) -> bool:
        return any(entry.status.is_failure for entry in self.entries)

    def summary(self) -> str:
        """The number of tests by their outcomes, in one line: "3 passed, 1 failed"."""
        return counts(self.entries)

    @property
    def never_ended(self) -> list[str]:
        """The planned tests that have no entry."""
        ended = {entry.test for entry in self.entries}
        return [name for name in self.planned if name not in ended]


def counts(entries: Iterable[JournalEntry]) -> str:
    """The number of tests by their outcomes, in one line."""
    found = Counter(entry.status for entry in entries)
    return ", ".join(f"{found[status]} {status.value}" for status in TestStatus if found[status])


def interrupt_report(interrupt: KeyboardInterrupt) -> str:
    """The report over ranks that an interrupt carries (see `_engine.interruption`); "" where there were none."""
    return str(interrupt.args[0]) if interrupt.args else ""


def headline(error: BaseException) -> str:
    """One line for an exception: its type, and the first line of its message that says something. Of an exception that
    is a report over ranks (`is_report`) the type says nothing more."""
    name = type(error).__name__
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if said and getattr(error, "is_report", False):
        return said
    return f"{name}: {said}" if said else name


#: The gravest first. A test has passed where some of its subtests passed and others skipped.
BY_GRAVITY = (
    TestStatus.ERROR,
    TestStatus.FAILED,
    TestStatus.UNEXPECTED_SUCCESS,
    TestStatus.EXPECTED_FAILURE,
    TestStatus.PASSED,
    TestStatus.SKIPPED,
)


@dataclass(frozen=True)
class Event:
    """One thing that happened to a test."""

    status: TestStatus
    reason: str = ""
    detail: str = ""


@dataclass
class RunningTest:
    """A test from its start to its end: the gravest of its events gives it its status and reason, the reports of all
    make the detail."""

    name: str
    started: float = field(default_factory=time.perf_counter)
    started_at: float = field(default_factory=time.time)
    events: list[Event] = field(default_factory=list)

    def entry(self, ranks: tuple[RankRecord, ...] = ()) -> JournalEntry | None:
        """None where nothing has happened: the test was interrupted."""
        seconds = time.perf_counter() - self.started
        for status in BY_GRAVITY:
            events = [event for event in self.events if event.status is status]
            if events:
                detail = "\n".join(event.detail for event in self.events if event.detail)
                return JournalEntry(self.name, status, seconds, events[0].reason, detail, self.started_at, ranks)
        return None
