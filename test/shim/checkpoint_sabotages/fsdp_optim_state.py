"""Sabotages of a sharded optimizer's state after it was loaded, or instead of that: in one rank where that is possible,
and then the failure names the rank beside the parameter."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.distributed as dist

from checkpoint_sabotages.sabotage import Sabotage, replaced

TEST = "FsdpOptimStateCheckpoint.test_load_sharded_optimizer_state_dict_pass_planner_True"
PARAMETER, OTHER = "net2.0.weight", "net3.0.weight"
GUILTY = 2

State = dict[str, dict[str, Any]]


def _file() -> Any:
    return sys.modules["test_fsdp_optim_state"]


def _in_one_rank(change: Callable[[State], object]) -> Callable[[], AbstractContextManager[Any]]:
    """Change the loaded state in the guilty rank before it is compared."""

    def compare(original: Any, case: Any, before: State, after: State) -> None:
        if case.rank == GUILTY:
            change(after)
        original(case, before, after)

    return lambda: replaced(_file().FsdpOptimStateCheckpoint, "_compare_states", compare)


def _shard(state: State) -> torch.Tensor:
    return state[PARAMETER]["exp_avg"].local_shards()[0].tensor


def _load_zeros(original: Any, **kwargs: Any) -> Any:
    loaded = original(**kwargs)
    if dist.get_rank() == GUILTY:
        for state in loaded["optim"]["state"].values():
            state["exp_avg"].local_shards()[0].tensor.zero_()
    return loaded


def _load_and_double_the_rate(original: Any, optim: Any, state: Any) -> None:
    original(optim, state)
    optim.param_groups[0]["lr"] *= 2


ADAM = torch.optim.Adam
#: The broken thing -> how it is broken, and the failure's text.
_WAYS: dict[str, tuple[Callable[[], AbstractContextManager[Any]], str]] = {
    "one_value_of_one_shard_changed": (
        _in_one_rank(lambda state: _shard(state).view(-1)[-1:].add_(0.5)),
        r"rank 2 failed: AssertionError: net2\.0\.weight\.exp_avg: local shard 0: .* 1 / ",
    ),
    "state_key_dropped": (
        _in_one_rank(lambda state: state[PARAMETER].pop("exp_avg_sq")),
        r"rank 2 failed: AssertionError: names in the state of net2\.0\.weight: ",
    ),
    "parameter_dropped": (
        _in_one_rank(lambda state: state.pop(PARAMETER)),
        "rank 2 failed: AssertionError: number of parameters with a state: ",
    ),
    "states_of_two_parameters_swapped": (
        _in_one_rank(lambda state: state.update({PARAMETER: state[OTHER], OTHER: state[PARAMETER]})),
        r"rank 2 failed: AssertionError: net2\.0\.weight\.exp_avg: size is ",
    ),
    "step_off_by_one": (
        _in_one_rank(lambda state: state[PARAMETER].update(step=state[PARAMETER]["step"] + 1)),
        r"rank 2 failed: AssertionError: net2\.0\.weight\.step: ",
    ),
    "no_sharded_tensor": (
        _in_one_rank(lambda state: state[PARAMETER].update(exp_avg=_shard(state))),
        r"rank 2 failed: AssertionError: .*net2\.0\.weight\.exp_avg is no ShardedTensor",
    ),
    "one_rank_loads_zeros": (
        lambda: replaced(_file(), "load_sharded_optimizer_state_dict", _load_zeros),
        r"rank 2 failed: AssertionError: net\d\.0\.weight\.exp_avg: local shard 0: ",
    ),
    "not_loaded": (
        lambda: replaced(ADAM, "load_state_dict", lambda *_: None),
        r"rank \d failed: AssertionError: number of parameters with a state: ",
    ),
    "learning_rate_changed": (
        lambda: replaced(ADAM, "load_state_dict", _load_and_double_the_rate),
        r"rank \d failed: AssertionError: param_groups: ",
    ),
    "optimizer_never_stepped": (lambda: replaced(ADAM, "step", lambda *_: None), "the optimizer has no state"),
    "gradients_are_zero": (
        lambda: replaced(torch.Tensor, "backward", lambda original, loss: original(loss * 0)),
        "every exp_avg is zero",
    ),
}
SABOTAGES = [Sabotage(name, TEST, strike, reason) for name, (strike, reason) in _WAYS.items()]
