"""One entry of an expectations file. Test files' processes read it too, so it imports the standard library alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from .ids import TestPattern, read_id

__all__ = ["Expect", "Expectation"]


class Expect(Enum):
    """What is expected of a test; the value is what stands in the file."""

    XFAIL = "xfail"
    SKIP = "skip"
    FLAKY = "flaky"


@dataclass(frozen=True)
class Expectation:
    """One entry.

    Attributes:
        id: the test's id or a glob, as it is written.
        expect: what is expected of it.
        reason: why, in the user's words; may be empty.
        issue: where that is told; may be empty.
        devices: the device types that it holds on; empty for all.
        torch: the versions of torch that it holds with, as in PEP 440; empty for all.
        error: a regular expression that is found in the report of the expected failure; empty for any failure.
    """

    id: str
    expect: Expect
    reason: str = ""
    issue: str = ""
    devices: tuple[str, ...] = ()
    torch: str = ""
    error: str = ""

    @cached_property
    def pattern(self) -> TestPattern:
        """The tests that the id names."""
        return read_id(self.id)

    def holds_on(self, device: str) -> bool:
        """True where the entry applies on a device type; "" is one that is not known."""
        return not self.devices or device in self.devices

    @property
    def why(self) -> str:
        """Reason and issue in one line; "" where neither is given."""
        return f"{self.reason} ({self.issue})" if self.reason and self.issue else self.reason or self.issue
