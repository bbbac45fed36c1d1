"""Outcomes: what became of one row of the suite, as data that ranks exchange and reports print."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from torch.distributed.checkpoint.api import CheckpointException

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: A reason is one line of a table: longer ones are cut.
_REASON_CHARACTERS = 300


class Kind(Enum):
    """How a row ended. The value is the word that reports print."""

    OK = "ok"
    REFUSES = "refuses"
    WRONG = "WRONG"
    TORCHS = "torch's own"
    NOT_HERE = "not here"
    LOST = "LOST"

    @property
    def is_bad(self) -> bool:
        """Whether the storage did not do what the row asks for."""
        return self in (Kind.REFUSES, Kind.WRONG, Kind.LOST)


@dataclass(frozen=True)
class Outcome:
    """How a row ended.

    Attributes:
        kind: the end. `TORCHS` is a failure that torch's own storage has too; `LOST` is a row of which no rank has
            told the end.
        text: why, in one line: the step and its error, the first difference, or what this torch lacks. Empty for ok.
    """

    kind: Kind
    text: str = ""

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.text}" if self.text else self.kind.value


@dataclass(frozen=True)
class Row:
    """One line of a report: the check that it belongs to, its name, and its outcome."""

    check: str
    name: str
    outcome: Outcome

    @property
    def full_name(self) -> str:
        return f"{self.check}: {self.name}"

    def to_json(self) -> str:
        fields = {"check": self.check, "name": self.name, "kind": self.outcome.kind.name, "text": self.outcome.text}
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str) -> Row:
        fields: Mapping[str, str] = json.loads(text)
        return cls(fields["check"], fields["name"], Outcome(Kind[fields["kind"]], fields["text"]))


class MismatchError(AssertionError):
    """A checkpoint loaded, and a value in it is not the one that was saved. The message names it."""


class NotHereError(Exception):
    """This torch, or this number of ranks, lacks what a row needs. The message says what."""


class RowFailedError(Exception):
    """A step of a row has failed in some rank. Every rank of the launch raises it, with the same outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


def outcome_of(step: str, error: BaseException) -> Outcome:
    """Return the outcome of a row whose step ("save", "load") raised an error."""
    if isinstance(error, NotHereError):
        return Outcome(Kind.NOT_HERE, str(error))
    kind = Kind.WRONG if isinstance(error, MismatchError) else Kind.REFUSES
    return Outcome(kind, f"{step}: {root_text(error)}")


def root_text(error: BaseException) -> str:
    """Return the first error's type and first line. A checkpoint's error holds those of all ranks: the lowest leads."""
    if isinstance(error, CheckpointException) and error.failures:
        return root_text(error.failures[min(error.failures)][0])
    lines = str(error).strip().splitlines()
    first = lines[0] if lines else ""
    text = first if isinstance(error, MismatchError) else f"{type(error).__name__}: {first}".removesuffix(": ")
    return text if len(text) <= _REASON_CHARACTERS else f"{text[:_REASON_CHARACTERS]}..."
