"""Sabotages of `save` and `load`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from torch.distributed.checkpoint import default_planner, filesystem, state_dict_loader, state_dict_saver, utils

from checkpoint_sabotages.sabotage import Sabotage, replaced, staged_as_it_is


def _save_with(**changed: Any) -> Any:
    """Make a save that takes other options than it is called with."""

    def save(original: Any, **options: Any) -> Any:
        return original(**{**options, **changed})

    return lambda: replaced(state_dict_saver, "_save_state_dict", save)


def _set_up_by_storage_alone(original: Any, storage: Any, checkpoint_id: Any, reader: bool = False) -> Any:
    return original(storage, None if storage else checkpoint_id, reader)


def _keep_save_id(original: Any, writer: Any, checkpoint_id: Any = None) -> None:
    save_id = writer.save_id
    original(writer, checkpoint_id)
    writer.save_id = save_id


def _never_strict(original: Any, state: Any, metadata: Any, strict: bool = True) -> Any:
    return original(state, metadata, False)


def _swap_halves(original: Any, reader: Any, plan: Any, planner: Any) -> Any:
    result = original(reader, plan, planner)
    for tensor in planner.state_dict.values():
        if hasattr(tensor, "flip"):
            tensor.copy_(tensor.flip(0))
    return result


def _write_metadata_first(original: Any, writer: Any, plan: Any, planner: Any) -> Any:
    (writer.path / ".metadata").write_bytes(b"")
    return original(writer, plan, planner)


class _Never:
    """Nothing is an instance of it."""


def _stage_nothing() -> AbstractContextManager[Any]:
    stager = getattr(state_dict_saver, "DefaultStager", filesystem.FileSystemWriter)
    return staged_as_it_is(stager, filesystem.FileSystemWriter, "plain")


def _unknown_is_a_folder() -> AbstractContextManager[Any]:
    return mock.patch.object(filesystem.FileSystemWriter, "validate_checkpoint_id", lambda checkpoint_id: True)


_PLAIN = "SaveLoadTest.test_"
_RANKS = "SaveLoadInRanksTest.test_"

SABOTAGES = [
    Sabotage(
        "the_last_folder_of_an_id_is_lost",
        f"{_PLAIN}an_id_is_a_folder_by_text_or_path",
        lambda: replaced(filesystem.FileSystem, "init_path", lambda original, fs, path: original(fs, path).parent),
        "No such file or directory: .*step 3",
    ),
    Sabotage(
        "the_id_is_ignored",
        f"{_PLAIN}an_id_sends_a_storage_elsewhere",
        lambda: replaced(state_dict_saver, "_storage_setup", _set_up_by_storage_alone),
        "second.*first",
    ),
    Sabotage(
        "the_save_id_is_kept",
        f"{_PLAIN}an_id_sends_a_storage_elsewhere",
        lambda: replaced(filesystem.FileSystemWriter, "reset", _keep_save_id),
        "two saves have one save_id",
    ),
    Sabotage(
        "the_reader_reads_the_wrong_way_round",
        f"{_PLAIN}a_storage_needs_no_id",
        lambda: replaced(filesystem.FileSystemReader, "read_data", _swap_halves),
        "False is not true",
    ),
    Sabotage(
        "no_storage_is_no_error",
        f"{_PLAIN}neither_id_nor_storage_is_an_error",
        lambda: replaced(state_dict_saver, "_storage_setup", lambda original, *args, **kwargs: None),
        "AttributeError",
    ),
    Sabotage(
        "an_unknown_address_is_a_folder",
        f"{_PLAIN}an_unknown_kind_of_storage_is_an_error",
        _unknown_is_a_folder,
        "RuntimeError not raised",
    ),
    Sabotage(
        "an_address_is_read_wrong",
        f"{_PLAIN}an_address_is_left_to_fsspec",
        lambda: replaced(filesystem.FileSystemReader, "read_data", _swap_halves),
        "False is not true",
    ),
    Sabotage(
        "nothing_is_told_of_a_missing_group",
        f"{_PLAIN}a_missing_process_group_is_told",
        lambda: replaced(state_dict_saver.warnings, "warn", lambda original, *args, **kwargs: None),
        "UserWarning not triggered",
    ),
    Sabotage(
        "the_second_argument_is_dropped",
        f"{_PLAIN}a_storage_as_second_argument_works_and_is_told",
        lambda: replaced(state_dict_saver, "_storage_setup", lambda original, _, *ids, **__: original(None, *ids)),
        "checkpoint_id` must",
    ),
    Sabotage(
        "stateful_objects_are_plain_objects",
        f"{_PLAIN}stateful_objects_are_asked_and_told",
        lambda: mock.patch.object(state_dict_loader, "Stateful", _Never),
        "Missing key in checkpoint state_dict: counter",
    ),
    Sabotage(
        "tensors_are_loaded_beside_their_place",
        f"{_PLAIN}tensors_are_loaded_in_place_and_other_values_replaced",
        lambda: replaced(
            default_planner.DefaultLoadPlanner, "resolve_tensor", lambda original, *args: original(*args).clone()
        ),
        "the dtype is the target's",
    ),
    Sabotage(
        "missing_keys_are_passed_over",
        f"{_PLAIN}what_does_not_fit_is_refused_and_nothing_is_loaded",
        lambda: replaced(default_planner, "create_default_local_load_plan", _never_strict),
        "CheckpointException not raised",
    ),
    Sabotage(
        "a_file_is_replaced_by_a_folder",
        f"{_PLAIN}a_place_without_a_checkpoint_is_refused",
        lambda: replaced(state_dict_saver, "_save_state_dict", lambda original, **options: None),
        "CheckpointException not raised",
    ),
    Sabotage(
        "no_dist_is_ignored",
        f"{_RANKS}without_dist_each_rank_is_on_its_own",
        _save_with(no_dist=False),
        r"No such file|metadata|not equal|!=",
    ),
    Sabotage(
        "collectives_are_used_though_unwanted",
        f"{_RANKS}without_collectives_each_rank_writes_its_own_metadata",
        _save_with(use_collectives=True),
        "not equal|!=",
    ),
    Sabotage(
        "the_process_group_is_ignored",
        f"{_RANKS}a_process_group_saves_what_its_ranks_hold",
        _save_with(process_group=None),
        "No such file or directory",
    ),
    Sabotage(
        "a_failure_stays_with_its_rank",
        f"{_RANKS}a_failure_of_one_rank_reaches_every_rank",
        lambda: replaced(utils, "_get_failure_dict", lambda original, results: {}),
        "Scalars are not equal|no failure with",
    ),
    Sabotage(
        "metadata_is_written_before_the_data",
        f"{_RANKS}a_failure_of_one_rank_reaches_every_rank",
        lambda: replaced(filesystem.FileSystemWriter, "write_data", _write_metadata_first),
        "Ran out of input|a failed save has metadata",
    ),
    Sabotage(
        "nothing_is_staged",
        f"{_RANKS}an_async_save_keeps_what_was_there_when_it_was_called",
        _stage_nothing,
        "the shard|the plain tensor",
    ),
]
