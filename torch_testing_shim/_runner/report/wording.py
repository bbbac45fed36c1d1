"""A file's line and the failures of a run, as lines and tables have them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from torch_testing_shim._shared.device_map import MAPPED, SHARED
from torch_testing_shim._shared.journal import JournalEntry

from ..result import DID_NOT_RUN, Failure, FileResult, RunSummary

__all__ = ["NoteLines", "counts_of", "failures_to_list", "left_out_lines", "shortened", "stopped_lines"]

#: How many "did not run" of one file the table lists one by one; a large file that crashed early has hundreds.
LISTED_NOT_RUN = 10
#: What the table shows of a reason; some messages are a page in one line.
REASON_CHARACTERS = 300


def failures_to_list(summary: RunSummary) -> list[Failure]:
    """The rows of the table: all failures, with long rows of "did not run" of one file shortened."""
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
    """A reason that fits a table; the whole of it stands in the report above."""
    return reason if len(reason) <= REASON_CHARACTERS else f"{reason[: REASON_CHARACTERS - 4]} ..."


def counts_of(result: FileResult) -> str:
    """A file's counts: "3 passed, 1 failed, 1 flaky"; those that are none are left out."""
    counts = {"passed": result.passed, "failed": result.failed, "skipped": result.skipped, "flaky": len(result.flaky)}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "no tests"


def left_out_lines(summary: RunSummary) -> list[str]:
    """How many tests the choice by hardware has left out; no line where it has left out none."""
    counts = [file.left_out for file in summary.files if file.left_out]
    files = "1 file" if len(counts) == 1 else f"{len(counts)} files"
    return [f"left out by --hw-classification: {sum(counts)} tests of {files}"] if counts else []


def stopped_lines(result: FileResult, *, with_detail: bool = True) -> list[str]:
    """What ran in a file when the user asked to stop, and where it stood; none for a file that was not stopped."""
    if not result.ending.is_stopped:
        return []
    ran = " and ".join(f"{result.file}::{entry.test}" for entry in result.interrupted)
    line = f"stopped while {ran or result.file} ran{'' if ran else ', between tests'}"
    details = [entry.detail.rstrip("\n") for entry in result.interrupted if with_detail]
    return [line, *dict.fromkeys(filter(None, details))]


class NoteLines:
    """The notes of a run's tests as lines of a log; that of mapped or shared devices, which every test has, once."""

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
