"""The effect of an entry on a test's result, and the interface to a run's expectations. Pure.

| | xfail | flaky | skip |
| --- | --- | --- | --- |
| passed | unexpected success: a failure | passed | passed |
| failed, by the error where one is given | expected failure: green | runs again; flaky where it then passes | failed |
| failed by another error | failed, and says both | failed, and says both | failed |
| skipped | skipped | skipped | skipped |

A test that crashed its process, or ran when the file's time was over, has failed by the cause that the runner names.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch_testing_shim._shared.expectations import Expect, Expectation, FileExpectations
from torch_testing_shim._shared.journal import JournalEntry, TestStatus

from ..result import DID_NOT_RUN, Failure, FileResult, RunSummary

#: The retries of a test that is expected to be flaky, where `--retries` asks for no more.
FLAKY_RETRIES = 2


@dataclass(frozen=True)
class Judge:
    """Judges the tests of one file."""

    expected: FileExpectations = field(default_factory=FileExpectations)  # the entries about the file
    device: str = ""  # the device type where the file's process has reported none

    def entry(self, entry: JournalEntry, device: str) -> JournalEntry:
        """Judge a test's entry."""
        found = self.expected.find(entry.test, device or self.device)
        return entry if found is None else _judged(entry, found)

    def result(self, result: FileResult) -> FileResult:
        """Judge all entries and faults of a file. An expected crash becomes the entry of its test."""
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
        """The most times that the test of a failed entry runs again, where `--retries` says `retries`."""
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
    """True where a failure has the error that the expectation names."""
    return not found.error or bool(_compiled(found.error).search(f"{entry.reason}\n{entry.detail}"))


@functools.lru_cache(maxsize=1024)
def _compiled(error: str) -> re.Pattern[str]:
    return re.compile(error)


class RunJudgement:
    """The expectations of one run; by itself of a run without any, for which it imports no library to read them."""

    def judge_of(self, file: str) -> Judge:
        """The judge of the tests of a file."""
        return Judge()

    def variables(self, file: str, folder: Path) -> dict[str, str]:
        """The variables of the processes of a file, which name its skip list.

        Args:
            folder: the folder for skip lists, one for each file.
        """
        return {}

    def judge(self, result: FileResult) -> FileResult:
        """Judge a file's result."""
        return result

    def conclude(self, summary: RunSummary, finish: Callable[[FileResult], FileResult]) -> tuple[RunSummary, list[str]]:
        """Find the entries that match no test, and update the file where that was asked for; then judge the run by the
        updated file.

        Args:
            summary: the run, judged.
            finish: gets the result of a file whose judgement has changed, and returns it.

        Returns:
            The summary, and lines about the changes.
        """
        return summary, []
