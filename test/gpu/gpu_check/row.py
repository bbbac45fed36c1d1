"""One line of the table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """The result of a trial. The value stands in the table."""

    OK = "ok"
    FAILED = "FAILED"
    NOT_TRIED = "not tried"


@dataclass(frozen=True)
class Row:
    """Something that was tried, or was to be."""

    what: str  # what was tried
    expected: str  # what had to be seen
    seen: str  # what was seen; or why it could not be tried
    verdict: Verdict  # what that makes
    seconds: float | None = None  # how long it took; None where that says nothing
    detail: str = ""  # the end of a failure's report, for people; empty elsewhere
