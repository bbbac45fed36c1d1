"""Round trips of a training's state: saved on W1 ranks, loaded on W2, for each strategy and optimizer."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from torch_testing_shim.conformance._checks import Check, Trial
from torch_testing_shim.conformance._comparison import check_state
from torch_testing_shim.conformance._model import flat_training_state, new_model, reference_state, train
from torch_testing_shim.conformance._optimizers import OptimizerRecord
from torch_testing_shim.conformance._outcomes import NotHereError
from torch_testing_shim.conformance._stage import Stage
from torch_testing_shim.conformance._strategies import Strategy

if TYPE_CHECKING:
    from torch_testing_shim.conformance._case import CheckpointConformance

__all__ = ["round_trip", "round_trip_check"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Seed of the model that is loaded into: other values than those that were saved.
_OTHER_SEED = 21


def round_trip_check(strategy: Strategy) -> Check:
    """Return the check of one strategy: a trial for each optimizer and pair of world sizes that the case selects."""

    def trials(case: CheckpointConformance) -> Sequence[Trial]:
        return [
            Trial(
                f"{optimizer.name}, {before} -> {after}",
                max(before, after),
                functools.partial(round_trip, case, strategy, optimizer, before, after),
            )
            for optimizer, before, after in case.selection.round_trips()
        ]

    return Check(f"round trip of {strategy.name}", trials)


def round_trip(
    case: CheckpointConformance, strategy: Strategy, optimizer: OptimizerRecord, before: int, after: int, stage: Stage
) -> None:
    """Train and save on `before` ranks, load on `after`, and compare with the unsharded reference both times.

    Raises:
        NotHereError: the strategy or the optimizer cannot be had here.
        RowFailedError: a step failed.
    """
    for reason in (strategy.why_not(before), strategy.why_not(after), optimizer.why_not(stage.device_type)):
        if reason is not None:
            raise NotHereError(reason)
    path = stage.new_path()
    reference = _reference(optimizer, stage.device_type)
    first = stage.phase(before, "train", lambda: _trained(case, strategy, optimizer, before, reference, stage))
    stage.phase(before, "save", lambda: case.save({"training": _not_none(first).state()}, path))
    second = stage.phase(after, "build", lambda: _Training(case, strategy, optimizer, after, stage, _OTHER_SEED))
    stage.phase(after, "load", lambda: _not_none(second).load(case, path))
    stage.phase(after, "compare", lambda: check_state(_not_none(second).flat_state(), reference))


class _Training:
    """A model that a strategy has spread over ranks, and its optimizer."""

    def __init__(
        self,
        case: CheckpointConformance,
        strategy: Strategy,
        optimizer: OptimizerRecord,
        ranks: int,
        stage: Stage,
        seed: int | None = None,
    ) -> None:
        model = new_model(stage.device_type) if seed is None else new_model(stage.device_type, seed)
        self.model = case.build(strategy, model, ranks)
        self.optimizer = optimizer.build(self.model.parameters())

    def state(self) -> dict[str, Any]:
        model_state, optimizer_state = get_state_dict(self.model, self.optimizer)
        return {"model": model_state, "optimizer": optimizer_state}

    def load(self, case: CheckpointConformance, path: str) -> None:
        state = self.state()
        case.load({"training": state}, path)
        set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )

    def flat_state(self) -> dict[str, Any]:
        state = self.state()
        return flat_training_state(state["model"], state["optimizer"], self.optimizer)


def _trained(
    case: CheckpointConformance,
    strategy: Strategy,
    optimizer: OptimizerRecord,
    ranks: int,
    reference: dict[str, Any],
    stage: Stage,
) -> _Training:
    training = _Training(case, strategy, optimizer, ranks, stage)
    train(training.model, training.optimizer, stage.device_type)
    check_state(training.flat_state(), reference)
    return training


def _reference(optimizer: OptimizerRecord, device_type: str) -> dict[str, Any]:
    """Return the state of the same training on one plain model in this rank, which no part of a checkpoint touches."""
    model = new_model(device_type)
    plain = optimizer.build(model.parameters())
    train(model, plain, device_type)
    return reference_state(model, plain)


def _not_none(training: _Training | None) -> _Training:
    assert training is not None, "the rank has built it in the phase before"
    return training
