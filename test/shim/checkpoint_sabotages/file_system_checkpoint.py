"""Sabotages of checkpoints in a file system."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any
from unittest import mock

import torch
from torch.distributed.checkpoint import default_planner, filesystem
from torch.distributed.checkpoint.metadata import Metadata

from checkpoint_sabotages.sabotage import MENDED, Sabotage, replaced

_Reader, _Writer = filesystem.FileSystemReader, filesystem.FileSystemWriter
_LoadPlanner, _SavePlanner = default_planner.DefaultLoadPlanner, default_planner.DefaultSavePlanner


def _all(*contexts: AbstractContextManager[Any]) -> ExitStack:
    """Enter several contexts and return what leaves them."""
    stack = ExitStack()
    for context in contexts:
        stack.enter_context(context)
    return stack


def _write_with(**options: Any) -> Callable[[], AbstractContextManager[Any]]:
    """Make a writer that has other options than it is asked for."""

    def init(original: Any, writer: Any, *args: Any, **kwargs: Any) -> None:
        original(writer, *args, **{**kwargs, **options})

    return lambda: replaced(_Writer, "__init__", init)


def _write_changed(name: str, change: Callable[[Any], Any]) -> Callable[[], AbstractContextManager[Any]]:
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


def _keep_old_metadata(original: Any, writer: Any, metadata: Any, results: Any) -> None:
    if not (writer.path / ".metadata").exists():
        original(writer, metadata, results)


def _write_where_permitted() -> AbstractContextManager[Any]:
    """What may not be written is not, and nobody is told."""

    def write(original: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except PermissionError:
            nothing: torch.futures.Future[list[Any]] = torch.futures.Future()
            nothing.set_result([])
            return nothing

    return _all(replaced(_Writer, "write_data", write), replaced(_Writer, "finish", write))


class _Unflushed:
    """A file whose last bytes stay in the process until it is closed."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def flush(self) -> None:
        pass


@contextlib.contextmanager
def _open_otherwise(original: Any, system: Any, path: Any, mode: str) -> Iterator[Any]:
    """Keep nothing back, which mends the torch that does not flush, or all that torch would flush."""
    from test_file_system_checkpoint import FLUSHES

    with open(path, mode, buffering=-1 if FLUSHES or "r" in mode else 0) as file:
        yield _Unflushed(file) if FLUSHES else file


def _plans_compared(answer: bool) -> AbstractContextManager[Any]:
    if not hasattr(default_planner, "_compare_save_plans"):  # torch 2.6 has no cache of plans
        return nullcontext()
    return replaced(default_planner, "_compare_save_plans", lambda original, plan, other: answer)


def _stage_nothing() -> AbstractContextManager[Any]:
    """The save gets the tensors themselves, once they have changed."""

    def write_late(original: Any, *args: Any) -> Any:
        time.sleep(0.3)
        return original(*args)

    return _all(
        replaced(_Writer, "stage", lambda original, writer, state: state), replaced(_Writer, "write_data", write_late)
    )


_PLAIN = "FileSystemTest.test_"
_RANKS = "FileSystemInRanksTest.test_"
_SAME = f"{_PLAIN}plain_tensors_are_the_same_bit_for_bit"
_SYNCED = f"{_PLAIN}files_are_synced_where_that_is_asked"
_OVERWRITTEN = f"{_PLAIN}an_old_checkpoint_is_overwritten_unless_that_is_forbidden"
_LAYOUTS = f"{_RANKS}each_layout_is_loaded_into_each_other"
_PLANS = f"{_RANKS}plans_are_used_again_while_the_state_looks_the_same"

SABOTAGES = [
    Sabotage("nan_is_lost", _SAME, _write_changed("odd", torch.nan_to_num), "odd is "),
    Sabotage("the_sign_of_zero_is_lost", _SAME, _write_changed("odd", lambda tensor: tensor + 0.0), "odd is "),
    Sabotage(
        "all_memory_of_a_view_is_written",
        f"{_PLAIN}a_view_takes_the_room_of_its_elements",
        lambda: mock.patch.object(torch.Tensor, "clone", lambda tensor: tensor),
        "not less than 10000",
    ),
    Sabotage(
        "one_file_for_all",
        f"{_PLAIN}several_files_for_one_rank",
        _write_with(single_file_per_rank=True),
        "first set but not the second",
    ),
    Sabotage(
        "files_are_flushed_otherwise",
        f"{_PLAIN}a_file_is_complete_when_it_is_synced",
        lambda: replaced(filesystem.FileSystem, "create_stream", _open_otherwise),
        rf"{MENDED}|metadata'\]: Booleans mismatch: True is not False",  # as torch 2.13 does not flush, or 2.14 does
    ),
    Sabotage("nothing_is_synced", _SYNCED, _write_with(sync_files=False), "first set but not the second"),
    Sabotage("everything_is_synced", _SYNCED, _write_with(sync_files=True), "missing: '__0_0.distcp'"),
    Sabotage(
        "overwriting_is_never_forbidden", _OVERWRITTEN, _write_with(overwrite=True), "CheckpointException not raised"
    ),
    Sabotage(
        "the_old_metadata_stays",
        _OVERWRITTEN,
        lambda: replaced(_Writer, "finish", _keep_old_metadata),
        "gone. does not match",
    ),
    Sabotage(
        "missing_metadata_is_made_up",
        f"{_PLAIN}a_damaged_checkpoint_is_refused",
        lambda: replaced(_Reader, "read_metadata", lambda *args, **kwargs: Metadata({}, storage_data={})),
        r"No such file .*\.metadata. does not match",
    ),
    Sabotage(
        "a_refused_write_is_passed_over",
        f"{_PLAIN}a_folder_without_write_permission_can_only_be_read",
        _write_where_permitted,
        "CheckpointException not raised",
    ),
    Sabotage("a_shard_is_lost", _LAYOUTS, _write_changed("grid", torch.zeros_like), "grid loaded as"),
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
        _write_with(cache_staged_state_dict=False),
        "Scalars are not equal",
    ),
    Sabotage("the_writer_stages_nothing", f"{_RANKS}the_writer_stages_what_it_saves", _stage_nothing, "save 1"),
]
