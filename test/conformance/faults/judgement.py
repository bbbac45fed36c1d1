"""Judges a fault's result: pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from faults.fault import Ending, Fault
from faults.observe import Observation

#: How long after the fault, or where it hangs after the deadline, a verdict may come, in seconds.
LIMIT_SECONDS = 2.0


class Wrong(Enum):
    """Mistakes that a harness may make."""

    VERDICT = "wrong verdicts"
    CAUSE = "wrong causes"
    LATE = "faults other than hangs later than 2 s"
    LATE_HANG = "hangs later than 2 s past the deadline"
    LEFT = "left something behind"
    TOUCHED = "next test not untouched"
    NEVER = "faults that never happened"


@dataclass(frozen=True)
class Judgement:
    """A fault, what became of it, and what is wrong with that."""

    fault: Fault
    seen: Observation | None  # what became of it; None where it cannot be had on this machine
    missing: str = ""  # why it cannot; empty where it can
    deadline_seconds: float = 0.0  # what its test may take
    wrongs: tuple[tuple[Wrong, str], ...] = ()  # what is wrong, each with a few words

    @property
    def seconds(self) -> float | None:
        """From the fault to the verdict; None where one of them is missing."""
        return None if self.seen is None else self.seen.seconds

    @property
    def past_deadline(self) -> float | None:
        """Seconds from the deadline of a hang to the verdict, counted from the test's first step; None for others."""
        if self.seen is None or not self.fault.expected.is_hang or self.seconds is None:
            return None
        return self.seen.ended - self.seen.started - self.deadline_seconds


def judge(
    fault: Fault, seen: Observation | None, deadline_seconds: float, limit_seconds: float = LIMIT_SECONDS
) -> Judgement:
    """Judges what became of a fault on this harness.

    Args:
        fault: the fault.
        seen: what became of it; None where it was not run, since it cannot be had on this machine.
        deadline_seconds: what its test may take.
        limit_seconds: how long after the fault, or after the deadline of a hang, the verdict may come.
    """
    if seen is None:
        return Judgement(fault, None, fault.expected.needs(), deadline_seconds)
    judgement = Judgement(fault, seen, deadline_seconds=deadline_seconds)
    return replace(judgement, wrongs=(*_said_wrong(fault, seen), *_done_wrong(judgement, seen, limit_seconds)))


def is_wrong_verdict(fault: Fault, ending: Ending) -> bool:
    """Whether a harness that draws no line between errors and failures says something wrong of the fault."""
    return ending is not fault.expected.ending and not (ending.is_bad and fault.expected.ending.is_bad)


def blames_another(fault: Fault, seen: Observation) -> bool:
    """Whether the first line of a bad verdict names a rank, or its process, other than the guilty one."""
    guilty = re.match(r"rank (\d+) ", fault.expected.cause)
    named = re.search(r"\b(?:rank|process) (\d+)\b", seen.headline, re.IGNORECASE)
    return bool(seen.ending.is_bad and guilty and named and guilty[1] != named[1])


def _said_wrong(fault: Fault, seen: Observation) -> Iterator[tuple[Wrong, str]]:
    expected = fault.expected
    if seen.ending is not expected.ending:
        yield Wrong.VERDICT, f"{seen.ending.value} instead of {expected.ending.value}: {seen.headline}"
        return
    if not re.match(expected.cause, seen.headline):
        yield Wrong.CAUSE, f"{seen.headline!r} does not begin with {expected.cause!r}"
    for told in expected.told:
        if not re.search(told, seen.report):
            yield Wrong.CAUSE, f"{told!r} is not found in the report:\n{seen.report}"


def _done_wrong(judgement: Judgement, seen: Observation, limit_seconds: float) -> Iterator[tuple[Wrong, str]]:
    if judgement.seconds is None:
        yield Wrong.NEVER, "nothing says that it happened"
    elif judgement.past_deadline is not None:
        if judgement.past_deadline > limit_seconds:
            yield Wrong.LATE_HANG, f"{judgement.past_deadline:.2f} s past the deadline"
    elif judgement.seconds > limit_seconds:
        yield Wrong.LATE, f"{judgement.seconds:.2f} s after the fault"
    if seen.left:
        yield Wrong.LEFT, ", ".join(seen.left)
    if seen.untouched:
        yield Wrong.TOUCHED, seen.untouched
