"""The suite's vocabulary: a check is one test, its trials are the rows of the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch_testing_shim.conformance._outcomes import Kind, NotHereError, Outcome, Row, RowFailedError
from torch_testing_shim.conformance._stage import Stage

if TYPE_CHECKING:
    from torch_testing_shim.conformance._case import CheckpointConformance

__all__ = ["Check", "Trial", "carry_out"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


@dataclass(frozen=True)
class Trial:
    """One row: something that a storage has to do.

    Attributes:
        name: what it is, in a report.
        ranks: number of ranks that it needs at most.
        run: does it, in every rank of the launch alike: it may call `Stage.phase`, and raise the same `NotHereError`
            everywhere.
    """

    name: str
    ranks: int
    run: Callable[[Stage], None]


@dataclass(frozen=True)
class Check:
    """One test of the suite: its trials share a launch.

    Attributes:
        name: the topic, in a report; the test's name is made of it.
        trials: its trials for a test case, the same in the test process and in every rank.
    """

    name: str
    trials: Callable[[CheckpointConformance], Sequence[Trial]]

    @property
    def test_name(self) -> str:
        words = "".join(letter if letter.isalnum() else " " for letter in self.name)
        return f"test_{'_'.join(words.lower().split())}"

    def ranks(self, case: CheckpointConformance) -> int:
        """Return the number of ranks of its launch."""
        return max(trial.ranks for trial in self.trials(case))


def carry_out(check: Check, case: CheckpointConformance, stage: Stage) -> Iterator[Row]:
    """Run the trials of a check in this rank, one after the other, and yield the row of each. One that fails does not
    end the others."""
    for trial in check.trials(case):
        outcome = Outcome(Kind.OK)
        try:
            trial.run(stage)
        except RowFailedError as failure:
            outcome = failure.outcome
        except NotHereError as reason:
            outcome = Outcome(Kind.NOT_HERE, str(reason))
        stage.clear()
        yield Row(check.name, trial.name, outcome)
