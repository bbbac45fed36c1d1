"""The suite's vocabulary: a check is one test, its trials are the rows of the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch_testing_shim.conformance._outcomes import Kind, NotHereError, Outcome, Row, RowFailedError
from torch_testing_shim.conformance._stage import Stage
from torch_testing_shim.conformance._storage import Storage

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
        trials: its trials for a storage, the same in the test process and in every rank.
    """

    name: str
    trials: Callable[[Storage], Sequence[Trial]]

    @property
    def test_name(self) -> str:
        words = "".join(letter if letter.isalnum() else " " for letter in self.name)
        return f"test_{'_'.join(words.lower().split())}"

    def ranks(self, storage: Storage) -> int:
        """Return the number of ranks of its launch."""
        return max(trial.ranks for trial in self.trials(storage))


def carry_out(check: Check, storage: Storage, stage: Stage, *, blames_torch: bool) -> Iterator[Row]:
    """Run the trials of a check in this rank, one after the other, and yield the row of each. One that fails does not
    end the others.

    Args:
        check: the check.
        storage: the storage under test.
        stage: this rank's stage.
        blames_torch: repeat a trial that fails with torch's own storage; a failure that it has too is torch's.
    """
    torchs = check.trials(storage.with_torchs_files())
    for trial, control in zip(check.trials(storage), torchs, strict=True):
        outcome = _outcome(trial, stage)
        if blames_torch and outcome.kind.is_bad and (same := _outcome(control, stage)).kind.is_bad:
            outcome = Outcome(Kind.TORCHS, str(same))
        yield Row(check.name, trial.name, outcome)


def _outcome(trial: Trial, stage: Stage) -> Outcome:
    try:
        trial.run(stage)
    except RowFailedError as failure:
        return failure.outcome
    except NotHereError as reason:
        return Outcome(Kind.NOT_HERE, str(reason))
    finally:
        stage.clear()
    return Outcome(Kind.OK)
