"""Sabotages of staging. What torch lacks is not sabotaged: the tests of it are skipped."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch.distributed.checkpoint import staging

from checkpoint_sabotages.sabotage import MENDED, Sabotage, replaced

try:
    from torch.distributed.checkpoint._state_dict_stager import StateDictStager
except ImportError:
    StateDictStager = None  # type: ignore[assignment,misc]


def _of_stager(name: str, by: Callable[..., Any]) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: nullcontext() if StateDictStager is None else replaced(StateDictStager, name, by)


def _no_cache(original: Any, stager: Any, storage: Any, **options: Any) -> Any:
    stager._cached_storage_mapping.pop(storage, None)
    return original(stager, storage, **options)


def _stale_cache(original: Any, stager: Any, storage: Any, **options: Any) -> Any:
    cached = stager._cached_storage_mapping.get(storage)
    return original(stager, storage, **options) if cached is None else cached


def _strong_cache(original: Any, stager: Any, *args: Any, **kwargs: Any) -> None:
    original(stager, *args, **kwargs)
    stager._cached_storage_mapping = {}


def _any_size(original: Any, stager: Any, storage: Any, **options: Any) -> Any:
    cached = stager._cached_storage_mapping.get(storage)
    if cached is not None and cached.size() != storage.size():
        return cached
    return original(stager, storage, **options)


def _plain_tensors(original: Any, stager: Any, tensor: Any, *args: Any, **kwargs: Any) -> Any:
    return original(stager, tensor, *args, **kwargs).as_subclass(torch.Tensor)


def _own_memory(original: Any, stager: Any, tensor: Any, *args: Any, **kwargs: Any) -> Any:
    copy = original(stager, tensor, *args, **kwargs)
    return copy if not copy.numel() or type(copy) is not torch.Tensor else copy.contiguous().clone()


def _forget_what_was_met(original: Any, stager: Any, value: Any, memo: Any = None, *args: Any, **kwargs: Any) -> Any:
    if isinstance(value, torch.Tensor):
        memo = None
    return original(stager, value, memo, *args, **kwargs)


def _forget_everything(original: Any, stager: Any, value: Any, memo: Any = None, *args: Any, **kwargs: Any) -> Any:
    return original(stager, value, {}, *args, **kwargs)


def _stage_as_the_blocking_stager(original: Any, stager: Any, state: Any) -> Any:
    return staging.BlockingAsyncStager().stage(state)


@contextlib.contextmanager
def _wait_for_nothing() -> Iterator[None]:
    """What a thread stages is not done before somebody asks whether it is, and nobody waits for it."""
    asked = threading.Event()

    def done(original: Any, future: Any) -> bool:
        answer = original(future)
        asked.set()
        return bool(answer)

    def stage_late(original: Any, stager: Any, state: Any, **options: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            asked.wait()
        return original(stager, state, **options)

    with (
        replaced(Future, "done", done),
        _of_default_stager("synchronize_staging", lambda original, stager: None)(),
        _of_default_stager("_stage", stage_late)(),
    ):
        yield


def _other_memory(original: Any, stager: Any, *args: Any, **kwargs: Any) -> None:
    original(stager, *args, **{**kwargs, "share_memory": False})


def _pin_in_silence() -> AbstractContextManager[Any]:
    return mock.patch.object(warnings, "warn", lambda *args, **kwargs: None)


def _give_the_state_back(original: Any, stager: Any, state: Any, *args: Any, **kwargs: Any) -> Any:
    return state


def _of_default_stager(name: str, by: Callable[..., Any]) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: replaced(staging.DefaultStager, name, by) if hasattr(staging, "DefaultStager") else nullcontext()


_PLAIN = "StateDictStagerTest.test_"
_RANKS = "StagingInRanksTest.test_"

SABOTAGES = [
    Sabotage(
        "a_tensor_is_copied_each_time",
        f"{_PLAIN}every_container_is_copied_and_other_values_are_kept",
        _of_stager("deepcopy_with_tensor_offload", _forget_what_was_met),
        "met twice was copied twice",
    ),
    Sabotage(
        "loops_are_followed_for_ever",
        f"{_PLAIN}a_loop_in_the_state_is_a_loop_in_the_copy",
        _of_stager("deepcopy_with_tensor_offload", _forget_everything),
        "RecursionError",
    ),
    Sabotage(
        "subclasses_are_lost",
        f"{_PLAIN}subclasses_and_attributes_are_kept",
        _of_stager("_offload_tensor", _plain_tensors),
        "False is not true",
    ),
    Sabotage(
        "memory_is_never_shared",
        f"{_PLAIN}shared_memory_is_seen_by_another_process",
        _of_stager("__init__", _other_memory),
        "Booleans mismatch: True is not False",
    ),
    Sabotage(
        "copies_are_kept_for_ever",
        f"{_PLAIN}copies_are_forgotten_with_their_tensors",
        _of_stager("__init__", _strong_cache),
        "Scalars are not equal",
    ),
    Sabotage(
        "memory_of_another_size_is_taken",
        f"{_PLAIN}memory_that_has_grown_is_refused",
        _of_stager("_stage_untyped_storage", _any_size),
        "AssertionError not raised|storage size does not match|setStorage",
    ),
    Sabotage(
        "views_get_memory_of_their_own",
        f"{_RANKS}views_share_memory_in_the_copy_as_well",
        _of_stager("_offload_tensor", _own_memory),
        "Scalars are not equal|memory of its own|sequences",
    ),
    Sabotage(
        "nothing_is_cached",
        f"{_RANKS}memory_is_used_again",
        _of_stager("_stage_untyped_storage", _no_cache),
        "Scalars are not equal",
    ),
    Sabotage(
        "the_cache_is_stale",
        f"{_RANKS}memory_is_used_again",
        _of_stager("_stage_untyped_storage", _stale_cache),
        "the old values were staged",
    ),
    Sabotage(
        "pinning_is_dropped_in_silence",
        f"{_RANKS}memory_is_pinned_where_that_helps",
        _pin_in_silence,
        "Scalars are not equal",
    ),
    Sabotage(
        "shards_are_not_copied",
        f"{_RANKS}staged_shards_can_be_saved",
        _of_stager("stage", _give_the_state_back),
        "False is not true : dtensor",
    ),
    Sabotage(
        "sharded_tensors_are_staged",
        f"{_RANKS}staged_sharded_tensors_can_be_saved",
        _of_stager("stage", _stage_as_the_blocking_stager),
        MENDED,
    ),
    Sabotage(
        "the_blocking_stager_copies_nothing",
        f"{_RANKS}shards_staged_by_the_blocking_stager_can_be_saved",
        lambda: replaced(staging.BlockingAsyncStager, "stage", _give_the_state_back),
        "False is not true : dtensor",
    ),
    Sabotage(
        "the_blocking_stager_gives_the_state_back",
        f"{_RANKS}the_blocking_stager_copies_at_once",
        lambda: replaced(staging.BlockingAsyncStager, "stage", _give_the_state_back),
        "False is not true",
    ),
    Sabotage(
        "nobody_waits_for_the_stager",
        f"{_RANKS}the_default_stager_stages_now_or_later",
        _wait_for_nothing,
        "staging goes on though it was waited for",
    ),
    Sabotage(
        "missing_accelerators_are_passed_over",
        f"{_RANKS}copies_that_do_not_block_need_an_accelerator",
        _of_default_stager("__init__", lambda original, stager, options: None),
        "AssertionError not raised",
    ),
]
