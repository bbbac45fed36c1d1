"""A checkpoint that one planner has written is read by another."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import LoadPlanner, SavePlanner

from torch_testing_shim.conformance._checks import Check, Trial
from torch_testing_shim.conformance._outcomes import NotHereError
from torch_testing_shim.conformance._stage import Stage
from torch_testing_shim.conformance._states import check_small_state, rank_mesh, small_state
from torch_testing_shim.conformance._storage import Storage

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_SEED = 70
#: Saved on 3 ranks, loaded on 2.
_BEFORE, _AFTER = 3, 2
_PREFIX = "renamed "


class _RenamingSavePlanner(DefaultSavePlanner):
    """Saves each tensor under another name."""

    def set_up_planner(
        self, state_dict: dict[str, Any], storage_meta: StorageMeta | None = None, is_coordinator: bool = False
    ) -> None:
        super().set_up_planner(_renamed(state_dict), storage_meta, is_coordinator)


class _RenamingLoadPlanner(DefaultLoadPlanner):
    """Loads each tensor from another name."""

    def set_up_planner(
        self, state_dict: dict[str, Any], metadata: Metadata | None = None, is_coordinator: bool = False
    ) -> None:
        super().set_up_planner(_renamed(state_dict), metadata, is_coordinator)


def _renamed(state: Mapping[str, Any]) -> dict[str, Any]:
    return {_PREFIX + name: value for name, value in state.items()}


@dataclass(frozen=True)
class _Pair:
    """The planner that saves and the one that loads, and which of the two states has the other names already."""

    save: Callable[[], SavePlanner]
    load: Callable[[], LoadPlanner]
    saved_is_renamed: bool = False
    loaded_is_renamed: bool = False


_PAIRS = {
    "each tensor saved by its lowest rank, loaded by torch's planner": _Pair(
        lambda: DefaultSavePlanner(dedup_save_to_lowest_rank=True), DefaultLoadPlanner
    ),
    "saved by torch's planner, loaded by one that renames": _Pair(
        DefaultSavePlanner, _RenamingLoadPlanner, saved_is_renamed=True
    ),
    "saved by one that renames, loaded by torch's planner": _Pair(
        _RenamingSavePlanner, DefaultLoadPlanner, loaded_is_renamed=True
    ),
    "saved without flattening, loaded with it": _Pair(
        lambda: DefaultSavePlanner(flatten_state_dict=False), DefaultLoadPlanner
    ),
}


def _trials(storage: Storage) -> Sequence[Trial]:
    return [Trial(name, _BEFORE, functools.partial(_exchange, storage, pair)) for name, pair in _PAIRS.items()]


PLANNERS = Check("planners", _trials)


def _exchange(storage: Storage, pair: _Pair, stage: Stage) -> None:
    path = stage.new_path()
    try:
        saver = pair.save()
    except TypeError as error:  # an option that came with a later torch
        raise NotHereError(f"torch {torch.__version__}: {error}") from error

    def save() -> None:
        state = small_state(rank_mesh(stage.device_type, _BEFORE), _SEED)
        storage.save(_renamed(state) if pair.saved_is_renamed else state, path, saver)

    def load() -> None:
        state = small_state(rank_mesh(stage.device_type, _AFTER), _SEED, is_blank=True)
        storage.load(_renamed(state) if pair.loaded_is_renamed else state, path, pair.load())
        check_small_state(state, _SEED)

    stage.phase(_BEFORE, "save", save)
    stage.phase(_AFTER, "load", load)
