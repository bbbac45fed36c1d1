"""Sabotages of checkpoints in a file system."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.distributed.checkpoint import default_planner, filesystem

from checkpoint_sabotages.sabotage import Sabotage, replaced, staged_as_it_is

_Reader, _Writer = filesystem.FileSystemReader, filesystem.FileSystemWriter
_LoadPlanner, _SavePlanner = default_planner.DefaultLoadPlanner, default_planner.DefaultSavePlanner


def write_with(**options: Any) -> Callable[[], AbstractContextManager[Any]]:
    """Make a writer that has other options than it is asked for."""

    def init(original: Any, writer: Any, *args: Any, **kwargs: Any) -> None:
        original(writer, *args, **{**kwargs, **options})

    return lambda: replaced(_Writer, "__init__", init)


def write_changed(name: str, change: Callable[[Any], Any]) -> Callable[[], AbstractContextManager[Any]]:
    """Make a planner that gives the writer something else than the last piece of the tensor of a name."""

    def resolve(original: Any, planner: Any, item: Any) -> Any:
        data = original(planner, item)
        is_first = item.index.offset is None or not any(item.index.offset)
        return change(data.detach()) if item.index.fqn == name and (name != "grid" or not is_first) else data

    return lambda: replaced(_SavePlanner, "resolve_data", resolve)


def _swap_two_pieces(original: Any, reader: Any, metadata: Any, *args: Any, **kwargs: Any) -> None:
    """Two pieces of equal length are read from each other's places."""
    by_length: dict[int, list[Any]] = {}
    for index, info in metadata.storage_data.items():
        by_length.setdefault(info.length, []).append(index)
    first, second = next(indexes for indexes in by_length.values() if len(indexes) > 1)[:2]
    swapped = {first: metadata.storage_data[second], second: metadata.storage_data[first]}
    metadata.storage_data = {**metadata.storage_data, **swapped}
    original(reader, metadata, *args, **kwargs)


def _put_at_the_start(original: Any, planner: Any, item: Any) -> Any:
    return original(planner, dataclasses.replace(item, dest_offsets=torch.Size([0] * len(item.dest_offsets))))


def _plans_compared(answer: bool) -> AbstractContextManager[Any]:
    if not hasattr(default_planner, "_compare_save_plans"):  # torch 2.6 has no cache of plans
        return nullcontext()
    return replaced(default_planner, "_compare_save_plans", lambda original, plan, other: answer)


_RANKS = "FileSystemInRanksTest.test_"
_LAYOUTS = f"{_RANKS}each_layout_is_loaded_into_each_other"
_PLANS = f"{_RANKS}plans_are_used_again_while_the_state_looks_the_same"

SABOTAGES = [
    Sabotage("a_shard_is_lost", _LAYOUTS, write_changed("grid", torch.zeros_like), "grid loaded as"),
    Sabotage(
        "two_pieces_are_swapped",
        _LAYOUTS,
        lambda: replaced(_Reader, "set_up_storage_reader", _swap_two_pieces),
        "loaded as",
    ),
    Sabotage(
        "pieces_are_put_at_the_start",
        _LAYOUTS,
        lambda: replaced(_LoadPlanner, "resolve_tensor", _put_at_the_start),
        "loaded as",
    ),
    Sabotage(
        "fewer_ranks_put_pieces_at_the_start",
        f"{_RANKS}fewer_ranks_load_what_more_have_saved",
        lambda: replaced(_LoadPlanner, "resolve_tensor", _put_at_the_start),
        r"grid on \[",
    ),
    Sabotage(
        "the_lowest_rank_writes_all",
        f"{_RANKS}what_all_ranks_have_is_written_once",
        lambda: replaced(default_planner, "dedup_save_plans", lambda original, plans, *_: original(plans, True)),
        "first set but not the second",
    ),
    Sabotage(
        "old_plans_are_used_for_another_state", _PLANS, lambda: _plans_compared(True), "Size mismatch|CheckpointExc"
    ),
    Sabotage("plans_are_never_used_again", _PLANS, lambda: _plans_compared(False), "Booleans mismatch"),
    Sabotage(
        "the_writer_takes_new_memory",
        f"{_RANKS}the_writer_keeps_its_memory_for_the_next_save",
        write_with(cache_staged_state_dict=False),
        "Scalars are not equal",
    ),
    Sabotage(
        "the_writer_stages_nothing",
        f"{_RANKS}the_writer_stages_what_it_saves",
        lambda: staged_as_it_is(_Writer, _Writer, "weight"),
        "save 1",
    ),
]
