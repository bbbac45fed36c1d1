"""What two harnesses said of the same tests, and what about it is wrong (pure).

An outcome is the value of a `TestStatus`, or one of the two words below where there is none. Two outcomes count as the
same where their verdict is: passed, skipped, expected failure, unexpected success, or not passed. "failed" and "error"
are both "not passed": PyTorch's harness turns whatever happens in a rank into a RuntimeError of the test process, so
that it calls a failed assertion in a rank an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch_testing_shim._shared.journal import JournalContents, TestStatus

#: A harness's process ended before the test did.
NO_VERDICT = "no verdict"
#: A harness knows of no such test.
NOT_THERE = "not there"

#: The outcomes of a file's tests, by "Class.test".
Outcomes = Mapping[str, str]


@dataclass(frozen=True)
class UpstreamError:
    """A test of which PyTorch's harness says something wrong."""

    says: str  # the outcome that it comes to
    because: str  # why that is wrong


@dataclass(frozen=True)
class Pair:
    """One test under both harnesses."""

    test: str  # "file::Class.test"
    #: The outcomes.
    upstream: str
    ours: str

    @property
    def is_same(self) -> bool:
        return verdict(self.upstream) == verdict(self.ours)

    @property
    def word(self) -> str:
        """What a reader is to see of it first."""
        if self.upstream == self.ours:
            return "same"
        return "same verdict" if self.is_same else "DIFFERENT"


def verdict(outcome: str) -> str:
    """The part of an outcome that is compared."""
    return "not passed" if outcome in (TestStatus.FAILED.value, TestStatus.ERROR.value, NO_VERDICT) else outcome


def outcomes_of(journal: JournalContents) -> dict[str, str]:
    """The outcome of each test that a journal plans or tells of. A test that told nothing has no verdict."""
    told = {entry.test: entry.status.value for entry in journal.entries}
    return dict.fromkeys((*journal.planned, *journal.unfinished), NO_VERDICT) | told


def pairs_of(file: str, upstream: Outcomes, ours: Outcomes) -> list[Pair]:
    """The tests of a file, under both harnesses."""
    tests = sorted({*upstream, *ours})
    return [Pair(f"{file}::{test}", upstream.get(test, NOT_THERE), ours.get(test, NOT_THERE)) for test in tests]


def problems(pairs: Iterable[Pair], errors: Mapping[str, UpstreamError]) -> list[str]:
    """A line for each difference that nobody has explained, and for each explanation that does not hold.

    Args:
        pairs: of all files that `errors` speaks of.
        errors: what is known to be wrong of upstream, by "file::Class.test".
    """
    by_test = {pair.test: pair for pair in pairs}
    found = []
    for test, pair in by_test.items():
        if not pair.is_same and test not in errors:
            found.append(f"{test}: upstream says {pair.upstream}, ours {pair.ours}")
    for test, error in errors.items():
        known = by_test.get(test)
        if known is None:
            found.append(f"{test}: is said to go wrong upstream, and there is no such test")
        elif known.is_same:
            found.append(f"{test}: is said to go wrong upstream, and both say {known.ours}")
        elif known.upstream != error.says:
            found.append(f"{test}: upstream is said to say {error.says}, and says {known.upstream}")
    return found
