"""Ways to save: over an old checkpoint, two at once, in the background by a thread or a process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch.distributed.checkpoint import state_dict_saver
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.planner import SavePlanner, WriteItem
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard

from torch_testing_shim.conformance._checks import Check, Trial
from torch_testing_shim.conformance._outcomes import NotHereError
from torch_testing_shim.conformance._stage import Stage
from torch_testing_shim.conformance._states import check_small_state, placed, rank_mesh, small_state, whole_small_state
from torch_testing_shim.conformance._storage import Storage

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_SEED = 50
_OLD_SEED = 60
#: Seconds that a background save may take: a process has to import torch first.
_BACKGROUND_SECONDS = 60.0
#: Seconds that a rank waits at most for others that write. One that writes nothing is missed for so long.
_MEETING_SECONDS = 5.0


SAVES = Check(
    "saves",
    lambda storage: [
        Trial("over an old checkpoint", 2, lambda stage: _overwrite(storage, 2, stage)),
        Trial("over an old checkpoint of more ranks", 4, lambda stage: _overwrite(storage, 4, stage)),
        Trial("two at once, by two halves of the ranks", 4, lambda stage: _two_halves(storage, stage)),
    ],
)


def _async_trials(storage: Storage) -> Sequence[Trial]:
    return [
        Trial("by a thread", 2, lambda stage: _in_background(storage, "THREAD", stage)),
        Trial("by a process", 2, lambda stage: _in_background(storage, "PROCESS", stage)),
    ]


ASYNC_SAVES = Check("asynchronous saves", _async_trials)
#: In a launch of its own: where it fails, it does so on the one rank whose view has an offset (torch 2.13), and the
#: saving thread of the other waits until the group is destroyed.
ASYNC_VIEWS = Check(
    "asynchronous save of a view",
    lambda storage: [Trial("by a thread", 2, lambda stage: _in_background(storage, "THREAD", stage, has_view=True))],
)


def _overwrite(storage: Storage, old_ranks: int, stage: Stage) -> None:
    """Save on `old_ranks`, then another state on 2 ranks at the same place, and load that one."""
    path = stage.new_path()
    for step, ranks, seed in (("first save", old_ranks, _OLD_SEED), ("second save", 2, _SEED)):
        stage.phase(ranks, step, lambda: storage.save(small_state(rank_mesh(stage.device_type, ranks), seed), path))  # noqa: B023
    _load_and_check(storage, path, _SEED, stage)


def _two_halves(storage: Storage, stage: Stage) -> None:
    """Save two states in two folders at the same time, each by a process group of two ranks. All ranks meet where they
    write, so that a place that both saves use, as one for files that are not whole yet, is used at the same time."""
    seeds, paths = (_SEED, _OLD_SEED), (stage.new_path(), stage.new_path())

    def save() -> None:
        halves = init_device_mesh(stage.device_type, (2, 2), mesh_dim_names=("half", "shard"))
        half, mesh = halves.get_local_rank("half"), halves["shard"]
        planner = _meeting_planner(storage, stage)
        storage.save(small_state(mesh, seeds[half]), paths[half], planner, mesh.get_group())

    stage.phase(4, "save", save)
    for seed, path in zip(seeds, paths, strict=True):
        _load_and_check(storage, path, seed, stage)


def _meeting_planner(storage: Storage, stage: Stage) -> SavePlanner:
    """Return the storage's planner, which waits for the other ranks where the writer asks for the first value."""
    planner = storage.planner()[0] or DefaultSavePlanner()
    resolve, first = planner.resolve_data, threading.Lock()

    def resolve_data(write_item: WriteItem) -> Any:
        if first.acquire(blocking=False):  # never released: a writer's threads ask at the same time
            stage.meet(_MEETING_SECONDS)
        return resolve(write_item)

    planner.resolve_data = resolve_data  # type: ignore[method-assign]
    return planner


def _in_background(storage: Storage, how: str, stage: Stage, has_view: bool = False) -> None:
    """Save in the background, and overwrite the state as soon as the call has returned, as a training does."""
    kinds = getattr(state_dict_saver, "AsyncCheckpointerType", None)
    if not hasattr(kinds, how):
        raise NotHereError(f"torch {torch.__version__} has no asynchronous save by a {how.lower()}")
    path = stage.new_path()

    def save() -> None:
        mesh = rank_mesh(stage.device_type, 2)
        state = small_state(mesh, _SEED)
        if has_view:
            state["weight"] = placed(whole_small_state(_SEED)["weight"], mesh, Shard(0), is_view=True)
        saving: Any = state_dict_saver.async_save(
            state,
            storage_writer=storage.writer(path),
            planner=storage.planner()[0],
            async_checkpointer_type=getattr(kinds, how),
        )
        for value in state.values():
            if isinstance(value, torch.Tensor):
                local: torch.Tensor = value.to_local() if hasattr(value, "to_local") else value
                local.zero_()
        saving.result(timeout=_BACKGROUND_SECONDS)

    stage.phase(2, "save", save)
    _load_and_check(storage, path, _SEED, stage)


def _load_and_check(storage: Storage, path: str, seed: int, stage: Stage) -> None:
    def load() -> None:
        state = small_state(rank_mesh(stage.device_type, 2), seed, is_blank=True)
        storage.load(state, path)
        check_small_state(state, seed)

    stage.phase(2, "load", load)
