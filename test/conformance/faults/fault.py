"""What a fault is, and how a case says what has to become of it.

A case is a test method that is marked by `ends`. Its docstring says what it does, and the note of `ends` what every
harness has to say of it and what this one has to name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


class Ending(Enum):
    """The verdict of a harness on a test."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    EXPECTED_FAILURE = "expected failure"
    UNEXPECTED_SUCCESS = "unexpected success"
    NONE = "no verdict"  # it did not come to an end, or ended its test process

    @property
    def is_bad(self) -> bool:
        """True where the run as a whole has failed by it."""
        return self in (Ending.FAILED, Ending.ERROR, Ending.UNEXPECTED_SUCCESS)


@dataclass(frozen=True)
class Expectation:
    """The result that a fault has to have."""

    ending: Ending  # the verdict
    #: Regular expression that the first line of the report has to begin with: the guilty rank and the cause.
    cause: str = ""
    told: tuple[str, ...] = ()  # regular expressions that have to be found in the report, too
    is_hang: bool = False  # it goes on until the deadline
    is_deadlock: bool = False  # it would, but the harness can be certain of it and ends it earlier
    small_disk: bool = False  # the scratch folder has to lie on a disk of a few MiB
    needs: Callable[[], str] = lambda: ""  # tells why it cannot be had on this machine; an empty text where it can
    ours_only: str = ""  # why it cannot be said in upstream's terms; empty where it can


@dataclass(frozen=True)
class Fault:
    """A case of the catalogue."""

    theme: str  # name of its module
    test: str  # "Class.test_method"; no two faults have the same
    does: str  # what happens in it, in one line
    expected: Expectation  # what has to become of it

    @property
    def name(self) -> str:
        """As in the table: "deaths: exits with 3"."""
        method = self.test.rpartition(".")[2].removeprefix("test_")
        return f"{self.theme}: {method.replace('_', ' ')}"


def ends(
    ending: Ending,
    cause: str = "",
    *told: str,
    hang: bool = False,
    deadlock: bool = False,
    small_disk: bool = False,
    needs: Callable[[], str] = lambda: "",
    ours_only: str = "",
) -> Callable[[Method], Method]:
    """Marks a test method as a fault; the arguments are those of `Expectation`."""

    def mark(method: Method) -> Method:
        method.expected = Expectation(ending, cause, told, hang, deadlock, small_disk, needs, ours_only)  # type: ignore[attr-defined]
        return method

    return mark
