"""Sabotages of the conversion between checkpoints and files of `torch.save`."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch.distributed.checkpoint import format_utils, state_dict_saver

from checkpoint_sabotages.forked_programs import ForkedProgram
from checkpoint_sabotages.sabotage import Sabotage, replaced


def _load_and(change: Callable[[dict[str, Any]], object]) -> Any:
    """Make a load that changes what was loaded."""

    def load(original: Any, state: dict[str, Any], **options: Any) -> None:
        original(state, **options)
        change(state)

    return lambda: replaced(format_utils, "_load_state_dict", load)


def _other_dtype(state: dict[str, Any]) -> None:
    state["model"]["half"] = state["model"]["half"].float()


def _lose_the_last_shard(state: dict[str, Any]) -> None:
    state["sharded"][4:] = 0


def _save_another_scalar(original: Any, state: dict[str, Any], **options: Any) -> Any:
    return original({**state, "scalar": state["scalar"] + 1}, **options)


def _save_swapped(original: Any, state: dict[str, Any], **options: Any) -> Any:
    return original({**state, "sharded": state["sharded"].flip(0)}, **options)


def _keep_to_oneself(original: Any, tensor: torch.Tensor, src: int, **options: Any) -> None:
    if dist.get_rank() != src:
        tensor.zero_()


def _lose_the_scalar(original: Any, state: dict[str, Any], **options: Any) -> Any:
    return original({name: value for name, value in state.items() if name != "scalar"}, **options)


def _see_anything(original: Any, path: Any) -> bool:
    return str(path).endswith("nothing.pt") or original(path)


def _in_command(owner: Any, name: str, by: Callable[..., Any]) -> Callable[[], AbstractContextManager[Any]]:
    """Sabotage a command: it runs in a fork of this process."""
    program = functools.partial(ForkedProgram, strike=lambda: replaced(owner, name, by))
    return lambda: mock.patch.object(subprocess, "Popen", program)


_PLAIN = "FormatUtilsTest.test_"
_RANKS = "FormatUtilsInRanksTest.test_"

SABOTAGES = [
    Sabotage("the_dtype_is_lost", f"{_PLAIN}a_checkpoint_becomes_a_file", _load_and(_other_dtype), "dtype|float32"),
    Sabotage(
        "another_value_is_saved",
        f"{_PLAIN}a_file_becomes_a_checkpoint",
        lambda: replaced(format_utils, "_save_state_dict", _save_another_scalar),
        "scalar.* 8 is not 7",
    ),
    Sabotage(
        "a_missing_checkpoint_is_an_empty_one",
        f"{_PLAIN}what_is_missing_is_refused",
        lambda: replaced(format_utils, "_load_state_dict", lambda original, *args, **kwargs: None),
        "CheckpointException not raised",
    ),
    Sabotage(
        "the_command_loses_a_key",
        f"{_PLAIN}the_command_converts_both_ways",
        _in_command(state_dict_saver, "_save_state_dict", _lose_the_scalar),
        "first set but not the second",
    ),
    Sabotage(
        "the_command_says_nothing_of_a_missing_file",
        f"{_PLAIN}the_command_says_what_it_does_not_find",
        _in_command(os.path, "isfile", _see_anything),
        "Scalars are not equal",
    ),
    Sabotage(
        "a_shard_is_lost_in_the_file",
        f"{_RANKS}shards_of_ranks_become_whole_tensors_and_shards_again",
        _load_and(_lose_the_last_shard),
        r"sharded.*, \[0\.0, 0\.0, 0\.0\]\] is not ",
    ),
    Sabotage(
        "the_checkpoint_has_the_rows_reversed",
        f"{_RANKS}shards_of_ranks_become_whole_tensors_and_shards_again",
        lambda: replaced(format_utils, "_save_state_dict", _save_swapped),
        "False is not true : sharded",
    ),
    Sabotage(
        "the_reading_rank_tells_nobody",
        f"{_RANKS}a_file_is_read_by_one_rank_for_all",
        lambda: replaced(dist, "broadcast", _keep_to_oneself),
        r"weight.*\[0\.0, 0\.0\]\] is not ",
    ),
    Sabotage(
        "folders_count_as_files",
        f"{_RANKS}only_files_are_read_by_one_rank",
        lambda: mock.patch.object(format_utils.os.path, "isfile", os.path.exists),
        "Booleans mismatch|!=|not equal",
    ),
]
