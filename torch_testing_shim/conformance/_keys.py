"""Loads with fewer keys than were saved, more keys, other names, or a tensor of another shape."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.planner import LoadPlanner

from torch_testing_shim.conformance._checks import Check, Trial
from torch_testing_shim.conformance._outcomes import MismatchError, root_text
from torch_testing_shim.conformance._stage import Stage
from torch_testing_shim.conformance._states import check_small_state, rank_mesh, small_state
from torch_testing_shim.conformance._storage import Storage

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_RANKS = 2
_SEED = 40
_ABSENT = "absent"


def _trials(storage: Storage) -> Sequence[Trial]:
    rows: dict[str, Callable[[Storage, str, Stage], None]] = {
        "a load of some of the keys": _some_keys,
        "a key that was not saved is refused": _absent_key_refused,
        "a key that was not saved is left alone with allow_partial_load": _absent_key_left,
        "a tensor of another shape is refused": _shape_refused,
    }
    return [Trial(name, _RANKS, functools.partial(_with_checkpoint, storage, run)) for name, run in rows.items()]


KEYS = Check("keys", _trials)


def _with_checkpoint(storage: Storage, run: Callable[[Storage, str, Stage], None], stage: Stage) -> None:
    path = stage.new_path()
    stage.phase(_RANKS, "save", lambda: storage.save(small_state(rank_mesh(stage.device_type, _RANKS), _SEED), path))
    stage.phase(_RANKS, "load", lambda: run(storage, path, stage))


def _blank_state(stage: Stage) -> dict[str, Any]:
    return small_state(rank_mesh(stage.device_type, _RANKS), _SEED, is_blank=True)


def _some_keys(storage: Storage, path: str, stage: Stage) -> None:
    whole = _blank_state(stage)
    state = {name: whole[name] for name in ("twin", "table")}
    storage.load(state, path)
    check_small_state(state, _SEED)


def _absent_key_refused(storage: Storage, path: str, stage: Stage) -> None:
    state = _blank_state(stage) | {_ABSENT: torch.ones(2, device=stage.device_type)}
    _check_refused(storage, state, path, f"{_ABSENT}, which was never saved", _ABSENT)


def _absent_key_left(storage: Storage, path: str, stage: Stage) -> None:
    absent = torch.ones(2, device=stage.device_type)
    state = _blank_state(stage)
    planner: LoadPlanner = DefaultLoadPlanner(allow_partial_load=True)
    storage.load(state | {_ABSENT: absent}, path, planner)
    if absent.tolist() != [1.0, 1.0]:
        raise MismatchError(f"{_ABSENT}, which was never saved, has become {absent.tolist()}")
    check_small_state(state, _SEED)


def _shape_refused(storage: Storage, path: str, stage: Stage) -> None:
    state = _blank_state(stage) | {"table": torch.zeros((4, 2), dtype=torch.int64, device=stage.device_type)}
    _check_refused(storage, state, path, "table, which was saved with another shape", "table")


def _check_refused(storage: Storage, state: dict[str, Any], path: str, about: str, name: str) -> None:
    """Check that a load raises, and that its error names a key.

    Raises:
        MismatchError: it loads.
        BaseException: its error does not name the key.
    """
    try:
        storage.load(state, path)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a distributed checkpoint's errors are no Exceptions (torch 2.13)
        if name not in root_text(error):
            raise  # another reason: it would refuse without that key as well
    else:
        raise MismatchError(f"it loads {about}")
