"""What an entry makes of a test's result. Pure.

| | xfail | flaky | skip |
| --- | --- | --- | --- |
| passed | unexpected success: a failure | passed | passed |
| failed, by the error where one is given | expected failure: green | runs again; flaky where it then passes | failed |
| failed by another error | failed, and says both | failed, and says both | failed |
| skipped | skipped | skipped | skipped |

A test that crashed its process, or ran when the file's time was over, has failed by what the runner names as the cause.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from torch_testing_shim._shared.expectations import Expect, Expectation, FileExpectations
from torch_testing_shim._shared.journal import JournalEntry, TestStatus

from ..result import DID_NOT_RUN, Failure, FileResult, RunSummary

#: How many times a test runs again that is expected to be flaky, where `--retries` asks for no more.
FLAKY_RETRIES = 2


@dataclass(frozen=True)
class Judge:
    """Judges the tests of one file.

    Attributes:
        expected: the entries about the file.
        device: the device type where the file's process has told none.
    """

    expected: FileExpectations = field(default_factory=FileExpectations)
    device: str = ""

    def entry(self, entry: JournalEntry, device: str) -> JournalEntry:
        """A test's entry as the expectations have it."""
        found = self.expected.find(entry.test, device or self.device)
        return entry if found is None else _judged(entry, found)

    def result(self, result: FileResult) -> FileResult:
        """The same for all of a file. A crash that was expected becomes the entry of its test."""
        if not self.expected.entries:
            return result
        entries = [self.entry(entry, result.device) for entry in result.entries]
        faults = []
        for fault in result.faults:
            judged = self._fault(fault, result.device)
            if isinstance(judged, Failure):
                faults.append(judged)
            else:
                entries.append(judged)
        reruns = tuple(self.entry(entry, result.device) for entry in result.reruns)
        return replace(result, entries=tuple(entries), faults=tuple(faults), reruns=reruns)

    def _fault(self, fault: Failure, device: str) -> Failure | JournalEntry:
        if not fault.test or fault.label == DID_NOT_RUN:
            return fault
        judged = self.entry(JournalEntry(fault.test, TestStatus.ERROR, 0.0, fault.reason, fault.detail), device)
        return judged if judged.status.is_pass else replace(fault, reason=judged.reason)

    def retries(self, entry: JournalEntry, device: str, retries: int) -> int:
        """How many times the test of a failed entry runs again at most, where `--retries` says `retries`."""
        found = self.expected.find(entry.test, device or self.device)
        is_known = found is not None and found.expect is Expect.FLAKY and _is_by(entry, found)
        return max(retries, FLAKY_RETRIES) if is_known else retries


def _judged(entry: JournalEntry, found: Expectation) -> JournalEntry:
    if found.expect is Expect.SKIP:
        return entry
    if found.expect is Expect.XFAIL and entry.status is TestStatus.PASSED:
        reason = f"the test passed, though it is expected to fail{_because(found)}"
        return replace(entry, status=TestStatus.UNEXPECTED_SUCCESS, reason=reason)
    if not entry.status.is_failure:
        return entry
    if not _is_by(entry, found):
        return replace(entry, reason=f"{entry.reason}; expected was an error that matches {found.error!r}")
    if found.expect is Expect.FLAKY:
        return replace(entry, notes=(*entry.notes, f"is expected to be flaky{_because(found)}"))
    reason = f"{found.why}: {entry.reason}" if found.why else entry.reason
    return replace(entry, status=TestStatus.EXPECTED_FAILURE, reason=reason)


def _because(found: Expectation) -> str:
    return f": {found.why}" if found.why else ""


def _is_by(entry: JournalEntry, found: Expectation) -> bool:
    """True where a failure is the one that the entry is about."""
    return not found.error or bool(_compiled(found.error).search(f"{entry.reason}\n{entry.detail}"))


@functools.lru_cache(maxsize=1024)
def _compiled(error: str) -> re.Pattern[str]:
    return re.compile(error)


class RunJudgement(Protocol):
    """The expectations of one run."""

    def judge_of(self, file: str) -> Judge:
        """What judges the tests of a file."""

    def variables(self, file: str, folder: Path) -> dict[str, str]:
        """What a process of a file finds in its environment.

        Args:
            folder: where what it is told is written, once for each file.

        Raises:
            UsageError: it cannot be written.
        """

    def judge(self, result: FileResult) -> FileResult:
        """A file's result as the expectations have it."""

    def conclude(self, summary: RunSummary, finish: Callable[[FileResult], FileResult]) -> tuple[RunSummary, list[str]]:
        """Says which entries match no test, and updates the file where that was asked for; the run is then judged by
        what the file says now.

        Args:
            summary: the run, judged.
            finish: what is done with the result of a file that is now judged otherwise.

        Returns:
            The summary, and lines about what was changed.
        """


class NothingExpected:
    """A run without expectations (a `RunJudgement`)."""

    def judge_of(self, file: str) -> Judge:
        return Judge()

    def variables(self, file: str, folder: Path) -> dict[str, str]:
        return {}

    def judge(self, result: FileResult) -> FileResult:
        return result

    def conclude(self, summary: RunSummary, finish: Callable[[FileResult], FileResult]) -> tuple[RunSummary, list[str]]:
        return summary, []
