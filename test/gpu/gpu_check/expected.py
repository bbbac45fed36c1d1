"""The outcome that a sample's test has to have, and the row that follows from its real one. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gpu_check.row import Row, Verdict
from torch_testing_shim._shared.journal import JournalEntry, TestStatus

#: How the reason of a skip begins where a sample's test cannot be tried on this device.
NOT_HERE = "not here: "
#: How long a test may take, in seconds, where nothing else is said: the first use of a device takes several.
WITHIN_SECONDS = 60.0
_DETAIL_CHARACTERS = 3000


@dataclass(frozen=True)
class Expected:
    """The outcome that one test has to have."""

    test: str  # "Class.method"
    what: str  # what it tries, for the table
    statuses: tuple[TestStatus, ...] = (TestStatus.PASSED,)  # the statuses that are right
    reason: str = ""  # a regular expression that is found in its reason
    #: A regular expression that is found in one of its notes. Notes are what a test has left behind, and the marks of a
    #: run; a test has no others.
    note: str = ""
    within: float = WITHIN_SECONDS  # how long it may take, in seconds

    def __str__(self) -> str:
        status = " or ".join(status.value for status in self.statuses)
        told = [text for text in (self.reason, self.note) if text]
        return f"{status}: {', '.join(told)}" if told else status


def row_of(expected: Expected, entry: JournalEntry | None, output: str) -> Row:
    """The row of a test.

    Args:
        expected: what it had to come to.
        entry: what it came to; None where it never ended.
        output: what its process printed, told where there is no entry.
    """
    if entry is None:
        return Row(expected.what, str(expected), "did not run", Verdict.FAILED, detail=output[-_DETAIL_CHARACTERS:])
    if entry.status.is_skip and entry.reason.startswith(NOT_HERE):
        why = entry.reason.removeprefix(NOT_HERE)
        return Row(expected.what, str(expected), why, Verdict.NOT_TRIED)
    wrong = _wrong(expected, entry)
    said = f"{entry.status.value}: {entry.reason}" if entry.reason else entry.status.value
    seen = "; ".join([said, *([wrong] if wrong else []), *entry.notes])
    verdict = Verdict.FAILED if wrong else Verdict.OK
    detail = entry.detail[-_DETAIL_CHARACTERS:] if wrong else ""
    return Row(expected.what, str(expected), seen, verdict, entry.seconds, detail)


def _wrong(expected: Expected, entry: JournalEntry) -> str:
    """The mistake in an entry, in a few words; empty where there is none."""
    if entry.status not in expected.statuses:
        return "another outcome"
    if not re.search(expected.reason, entry.reason):
        return "another reason"
    told = [note for note in entry.notes if expected.note and re.search(expected.note, note)]
    if expected.note and not told:
        return f"no note says {expected.note!r}"
    if len(told) < len(entry.notes):
        return "it left something behind"
    return "" if entry.seconds <= expected.within else f"it took more than {expected.within:g} s"
