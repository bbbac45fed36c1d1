"""What happened to one test, one thing after the other, and the entry that comes of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from torch_testing_shim._shared.journal import JournalEntry, RankRecord, TestStatus

__all__ = ["Event", "RunningTest"]

#: The gravest first. A test of which some subtests passed and others skipped has passed.
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
