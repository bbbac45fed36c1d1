"""Lines and rows that several reports share: failures, counts, notes, and the lists at the end of a run. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from torch_testing_shim._shared.device_map import MAPPED, SHARED
from torch_testing_shim._shared.journal import JournalEntry

from ..result import DID_NOT_RUN, Failure, FileResult, RunSummary

#: The most "did not run" of one file that the table lists one by one; a large file that crashed early has hundreds.
LISTED_NOT_RUN = 10
#: The most of a reason that the table shows; some messages are a page in one line.
REASON_CHARACTERS = 300


def failures_to_list(summary: RunSummary) -> list[Failure]:
    """The rows of the table of failures; a long series of "did not run" of one file is shortened."""
    rows: list[Failure] = []
    for file in summary.files:
        not_run = [failure for failure in file.failures if failure.label == DID_NOT_RUN]
        rows += [failure for failure in file.failures if failure.label != DID_NOT_RUN]
        if len(not_run) <= LISTED_NOT_RUN + 1:
            rows += not_run
        else:
            more = f"and {len(not_run) - LISTED_NOT_RUN} more tests of this file"
            rows += [*not_run[:LISTED_NOT_RUN], Failure(file.file, "", DID_NOT_RUN, more)]
    return rows


def shortened(reason: str) -> str:
    """A reason, shortened for a table; the report above has the whole."""
    return reason if len(reason) <= REASON_CHARACTERS else f"{reason[: REASON_CHARACTERS - 4]} ..."


def failure_line(failure: Failure) -> str:
    """A failure on one line, as logs show it: "FAILED  file::Class.test  the reason"."""
    return f"{failure.label.upper()}  {failure.where}  {shortened(failure.reason)}"


def counts_of(result: FileResult) -> str:
    """A file's counts: "3 passed, 1 failed, 1 flaky"; zeros are left out."""
    counts = {"passed": result.passed, "failed": result.failed, "skipped": result.skipped, "flaky": len(result.flaky)}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "no tests"


def left_out_lines(summary: RunSummary) -> list[str]:
    """A line with the number of tests that the choice by hardware has left out; none where that is zero."""
    counts = [file.left_out for file in summary.files if file.left_out]
    files = "1 file" if len(counts) == 1 else f"{len(counts)} files"
    return [f"left out by --hw-classification: {sum(counts)} tests of {files}"] if counts else []


def stopped_lines(result: FileResult, *, with_detail: bool = True) -> list[str]:
    """Lines about the tests that ran in a file when the user asked to stop, with their stacks; none for a file that was
    not stopped."""
    if not result.ending.is_stopped:
        return []
    ran = " and ".join(f"{result.file}::{entry.test}" for entry in result.interrupted)
    line = f"stopped while {ran or result.file} ran{'' if ran else ', between tests'}"
    details = [entry.detail.rstrip("\n") for entry in result.interrupted if with_detail]
    return [line, *dict.fromkeys(filter(None, details))]


class NoteLines:
    """The notes of a run's tests as lines of a log; every test has a note of mapped or shared devices, shown once."""

    def __init__(self) -> None:
        self._marks: set[str] = set()

    def of(self, entry: JournalEntry, file: str) -> Iterator[str]:
        """The lines for a test of a file."""
        for note in entry.notes:
            if not note.startswith((MAPPED, SHARED)):
                yield f"NOTE  {file}::{entry.test}  {note}"
            elif note not in self._marks:
                self._marks.add(note)
                yield f"NOTE  {note}"


#: The most tests with one reason that are named; decorators of a whole file can skip hundreds.
NAMED_TESTS = 3


def slowest_tests(summary: RunSummary, count: int) -> list[str]:
    """A headline and the `count` slowest tests, slowest first; all of them where `count` is 0."""
    timed = [(entry.seconds, f"{file.file}::{entry.test}") for file in summary.files for entry in file.entries]
    timed.sort(key=lambda test: (-test[0], test[1]))
    shown = timed[:count] if count else timed
    headline = f"slowest {len(shown)} of {len(timed)} tests:"
    return [headline, *(f"{seconds:9.3f}s  {where}" for seconds, where in shown)]


def skip_reasons(summary: RunSummary) -> list[str]:
    """One line for each reason, with the number of tests that it skipped and the first of them; commonest first."""
    tests: dict[str, list[str]] = {}
    for file in summary.files:
        for entry in file.entries:
            if entry.status.is_skip:
                tests.setdefault(entry.reason or "no reason", []).append(f"{file.file}::{entry.test}")
    commonest = sorted(tests.items(), key=lambda reason: -len(reason[1]))
    return [_line(reason, names) for reason, names in commonest] or ["no test was skipped"]


def _line(reason: str, names: list[str]) -> str:
    more = [f"and {len(names) - NAMED_TESTS} more"] if len(names) > NAMED_TESTS else []
    return f"SKIPPED  {len(names)}  {reason}  ({', '.join([*names[:NAMED_TESTS], *more])})"
