"""The suite's vocabulary: a check is one test, its trials are the rows of the report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch_testing_shim.conformance._outcomes import Kind, NotHereError, Outcome, Row, RowFailedError
from torch_testing_shim.conformance._stage import Stage
from torch_testing_shim.conformance._storage import Storage

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


@dataclass(frozen=True)
class Trial:
    """One row: something that a storage has to do.

    Attributes:
        name: what it is, in a report.
        ranks: number of ranks that it needs at most.
        run: does it, in every rank of the launch alike: it may call `Stage.phase`, and raise the same `NotHereError`
            everywhere. What it returns in rank 0 is told beside "ok".
    """

    name: str
    ranks: int
    run: Callable[[Stage], str | None]


@dataclass(frozen=True)
class Topic(ABC):
    """One test of the suite.

    Attributes:
        name: the topic, in a report; the test's name is made of it.
        kills_ranks: whether its ranks may end in any way.
    """

    name: str
    kills_ranks: ClassVar[bool] = False

    @property
    def test_name(self) -> str:
        words = "".join(letter if letter.isalnum() else " " for letter in self.name)
        return f"test_{'_'.join(words.lower().split())}"

    @abstractmethod
    def row_names(self, storage: Storage) -> list[str]:
        """Return the names of its rows."""

    @abstractmethod
    def ranks(self, storage: Storage) -> int:
        """Return the number of ranks of its launch."""

    @abstractmethod
    def carry_out(self, storage: Storage, stage: Stage, *, blames_torch: bool) -> Iterator[Row]:
        """Do this rank's part, and yield the rows that this rank reports.

        Args:
            storage: the storage under test.
            stage: this rank's stage.
            blames_torch: repeat what fails with torch's own storage; a failure that it has too is torch's.
        """


@dataclass(frozen=True)
class Check(Topic):
    """A test whose trials share a launch.

    Attributes:
        trials: its trials for a storage, the same in the test process and in every rank.
        blames_torch: whether a failure that torch's own storage has too may be torch's.
    """

    trials: Callable[[Storage], Sequence[Trial]]
    blames_torch: bool = True

    def row_names(self, storage: Storage) -> list[str]:
        return [trial.name for trial in self.trials(storage)]

    def ranks(self, storage: Storage) -> int:
        return max(trial.ranks for trial in self.trials(storage))

    def carry_out(self, storage: Storage, stage: Stage, *, blames_torch: bool) -> Iterator[Row]:
        """Run the trials one after the other. One that fails does not end the others."""
        torchs = self.trials(storage.with_torchs_files())
        for trial, control in zip(self.trials(storage), torchs, strict=True):
            outcome = _outcome(trial, stage)
            if blames_torch and self.blames_torch and outcome.kind.is_bad:
                same = _outcome(control, stage)
                outcome = Outcome(Kind.TORCHS, str(same)) if same.kind.is_bad else outcome
            if stage.rank == 0:
                yield Row(self.name, trial.name, outcome)


def _outcome(trial: Trial, stage: Stage) -> Outcome:
    try:
        return Outcome(Kind.OK, trial.run(stage) or "")
    except RowFailedError as failure:
        return failure.outcome
    except NotHereError as reason:
        return Outcome(Kind.NOT_HERE, str(reason))
    finally:
        stage.clear()
