"""Round trips of a training's state: saved on W1 ranks, loaded on W2, for each strategy and optimizer."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from torch_testing_shim.conformance._checks import Check, Trial
from torch_testing_shim.conformance._comparison import check_state
from torch_testing_shim.conformance._model import SEED, flat_training_state, new_model, reference_state, train
from torch_testing_shim.conformance._optimizers import OptimizerRecord
from torch_testing_shim.conformance._outcomes import NotHereError
from torch_testing_shim.conformance._stage import Stage
from torch_testing_shim.conformance._storage import Storage
from torch_testing_shim.conformance._strategies import Strategy

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Result = TypeVar("Result")

#: Seed of the model that is loaded into: other values than those that were saved.
_OTHER_SEED = SEED + 1


def round_trip_check(strategy: Strategy) -> Check:
    """Return the check of one strategy: a trial for each optimizer and pair of world sizes that is selected, and one
    for a model with a parameter that leaves ranks without a shard."""

    def trials(storage: Storage) -> Sequence[Trial]:
        trips = [RoundTrip(strategy, *chosen) for chosen in storage.selection.round_trips()]
        trips.append(RoundTrip(strategy, *storage.selection.round_trips()[0], has_short_layer=True))
        return [Trial(trip.name, max(trip.before, trip.after), functools.partial(trip.make, storage)) for trip in trips]

    return Check(f"round trip of {strategy.name}", trials)


@dataclass(frozen=True)
class RoundTrip:
    """A training that is saved and loaded.

    Attributes:
        strategy: how its model is spread.
        optimizer: its optimizer.
        before: number of ranks that save.
        after: number of ranks that load.
        has_short_layer: the model has a parameter with one row, so that some ranks have no part of it.
    """

    strategy: Strategy
    optimizer: OptimizerRecord
    before: int
    after: int
    has_short_layer: bool = False

    @property
    def name(self) -> str:
        short = ", a parameter of one row" if self.has_short_layer else ""
        return f"{self.optimizer.name}, {self.before} -> {self.after}{short}"

    def make(self, storage: Storage, stage: Stage) -> None:
        """Train and save on the ranks before, load on the ranks after, and compare with the unsharded reference both
        times.

        Raises:
            NotHereError: the strategy or the optimizer cannot be had here.
            RowFailedError: a step failed.
        """
        for reason in (
            self.strategy.why_not(self.before, stage.device_type),
            self.strategy.why_not(self.after, stage.device_type),
            self.optimizer.why_not(stage.device_type),
        ):
            if reason is not None:
                raise NotHereError(reason)
        path = stage.new_path()
        reference = self._reference(stage.device_type)
        first = stage.phase(self.before, "train", lambda: self._trained(storage, stage.device_type, reference))
        stage.phase(self.before, "save", lambda: storage.save({"training": _there(first)[1]}, path))
        second = stage.phase(
            self.after, "build", lambda: self._training(storage, stage.device_type, self.after, _OTHER_SEED)
        )
        stage.phase(self.after, "load", lambda: _there(second).load(storage, path))
        stage.phase(self.after, "compare", lambda: _there(second).check(_there(second).state(), reference))

    def _training(self, storage: Storage, device_type: str, ranks: int, seed: int) -> _Training:
        return _Training(storage, self, new_model(device_type, self.has_short_layer, seed), ranks)

    def _trained(
        self, storage: Storage, device_type: str, reference: dict[str, Any]
    ) -> tuple[_Training, dict[str, Any]]:
        """Return a training and its state, which FSDP1 takes long to gather: a second time would cost as much."""
        training = self._training(storage, device_type, self.before, SEED)
        train(training.model, training.optimizer, device_type)
        state = training.state()
        training.check(state, reference)
        return training, state

    def _reference(self, device_type: str) -> dict[str, Any]:
        """Return the state of the same training on one plain model in this rank, which no checkpoint touches."""
        model = new_model(device_type, self.has_short_layer, SEED)
        plain = self.optimizer.build(model.parameters())
        train(model, plain, device_type)
        return reference_state(model, plain)


class _Training:
    """A model that a strategy has spread over ranks, and its optimizer."""

    def __init__(self, storage: Storage, trip: RoundTrip, model: Any, ranks: int) -> None:
        self.model = storage.build(trip.strategy, model, ranks)
        self.optimizer = trip.optimizer.build(self.model.parameters())

    def state(self) -> dict[str, Any]:
        model_state, optimizer_state = get_state_dict(self.model, self.optimizer)
        return {"model": model_state, "optimizer": optimizer_state}

    def load(self, storage: Storage, path: str) -> None:
        state = self.state()
        storage.load({"training": state}, path)
        set_state_dict(self.model, self.optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])

    def check(self, state: dict[str, Any], reference: dict[str, Any]) -> None:
        """Check this rank's part of what `state` has returned.

        Raises:
            MismatchError: a value differs.
        """
        check_state(flat_training_state(state["model"], state["optimizer"], self.optimizer), reference)


def _there(result: Result | None) -> Result:
    assert result is not None, "the rank has made it in a phase before"
    return result
