"""Sabotages of HuggingFace's format in one process."""

from __future__ import annotations

import importlib
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import default_planner
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import WriteItemType

from checkpoint_sabotages.sabotage import MENDED, Sabotage, replaced


def in_module(module: str, name: str, by: Any) -> Any:
    """Replace a function, or a class's, of a module that not every machine has."""

    def strike() -> AbstractContextManager[Any]:
        owner = importlib.import_module(module)
        *path, last = name.split(".")
        for part in path:
            owner = getattr(owner, part)
        return replaced(owner, last, by)

    return strike


_STORAGE = "torch.distributed.checkpoint.hf_storage"
_CONSOLIDATION = "torch.distributed.checkpoint._consolidate_hf_safetensors"


def _swap_first_and_third(original: Any, tensors: Any, *args: Any, **options: Any) -> Any:
    first, _, third, *_ = tensors
    return original({**tensors, first: tensors[third], third: tensors[first]}, *args, **options)


def _flip_a_bit(original: Any, tensors: Any, *args: Any, **options: Any) -> Any:
    return original({name: -tensor for name, tensor in tensors.items()}, *args, **options)


def _one_name(original: Any, index: int, *args: Any) -> Any:
    return original(1, *args)


def _leave_one_out(original: Any, reader: Any, plan: Any, planner: Any) -> Any:
    del plan.items[0]
    return original(reader, plan, planner)


def _lose_a_corner(original: Any, reader: Any, file: Any, request: Any, planner: Any) -> None:
    original(reader, file, request, planner)
    if request.dest_offsets == (0, 1):
        planner.resolve_tensor(request).zero_()


def without_offsets(original: Any, whole: Any, part: Any, size: int, shape: Any, offsets: Any, part_shape: Any) -> Any:
    return original(whole, part, size, shape, [0] * len(offsets), part_shape)


def _ignore_gaps(_: Any, indices: Any, part_shape: Any, shape: Any) -> int:
    """Take a part for one piece of memory of the whole."""
    count = 1
    for size in part_shape:
        count *= size
    return count


def _slashes(original: Any, state: Any) -> Any:
    flat, paths = original(state)
    return {name.replace(".", "/"): value for name, value in flat.items()}, paths


def _save_copies(original: Any, tensors: Any, *args: Any, **options: Any) -> Any:
    return original({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, *args, **options)


def _unreadable_is_empty(original: Any, reader: Any) -> Any:
    try:
        return original(reader)
    except Exception:
        return Metadata({}, storage_data={})


def _read_and(change: Any) -> Any:
    """Change what was read."""

    def read(original: Any, reader: Any, file: Any, request: Any, planner: Any) -> None:
        original(reader, file, request, planner)
        change(planner.resolve_tensor(request))

    return in_module(_STORAGE, "HuggingFaceStorageReader._process_read_request", read)


def _all_start_at_zero(original: Any, metadata: Any) -> Any:
    return original(metadata) or {name: {"saved_offsets": [0] * len(metadata[name]["shape"])} for name in metadata}


def _lose_the_empty(original: Any, inputs: Any, outputs: Any) -> None:
    original(inputs, outputs)
    for output in outputs.values():
        output.fqn_data = {name: data for name, data in output.fqn_data.items() if all(data.shape_in_file)}


def _refuse_others(original: Any, writer: Any, plan: Any, planner: Any) -> Any:
    if any(item.type is WriteItemType.BYTE_IO for item in plan.items):
        raise ValueError("not a tensor")
    return original(writer, plan, planner)


def _remove_the_old(original: Any, writer: Any, plans: Any) -> Any:
    for path in Path(writer.path).glob("*.safetensors"):
        path.unlink()
    return original(writer, plans)


def _copy_the_only_part(_: Any, shards: str, folder: str, *args: Any, **options: Any) -> None:
    shutil.copy(Path(shards) / "0.safetensors", Path(folder) / "model-00001-of-00001.safetensors")


def _mended_consolidation() -> AbstractContextManager[Any]:
    return replaced(importlib.import_module("test_hf_storage"), "consolidate_safetensors_files", _copy_the_only_part)


def _never_strict(original: Any, state: Any, metadata: Any, strict: bool = True) -> Any:
    return original(state, metadata, False)


_NAMED = "HfConsolidationTest.test_parts_become_whole_tensors_in_the_files_that_are_named_num_threads_2"

SABOTAGES = [
    Sabotage(
        "two_tensors_are_swapped",
        "HfWriterTest.test_a_file_holds_each_dtype_bit_for_bit",
        in_module("safetensors.torch", "save", _swap_first_and_third),
        "type of torch.float32: ",
    ),
    Sabotage(
        "values_are_negated",
        "HfWriterTest.test_safetensors_own_reader_takes_the_file",
        in_module("safetensors.torch", "save", _flip_a_bit),
        "a: .* differ",
    ),
    Sabotage(
        "files_have_one_name",
        "HfWriterTest.test_tensors_go_to_the_files_that_are_named_thread_count_2",
        in_module(_STORAGE, "_gen_file_name", _one_name),
        "model-00003-of-00003",
    ),
    Sabotage(
        "one_tensor_is_not_read",
        "HfReaderTest.test_each_dtype_is_read_bit_for_bit_from_several_files_thread_count_3",
        in_module(_STORAGE, "HuggingFaceStorageReader.read_data", _leave_one_out),
        "elements differ",
    ),
    Sabotage(
        "a_part_is_lost",
        "HfReaderTest.test_parts_are_put_together",
        in_module(_STORAGE, "HuggingFaceStorageReader._process_read_request", _lose_a_corner),
        "a: .* differ, the first at 1",
    ),
    Sabotage(
        "missing_keys_are_ignored",
        "HfReaderTest.test_what_is_not_there_is_refused",
        lambda: replaced(default_planner, "create_default_local_load_plan", _never_strict),
        "CheckpointException not raised",
    ),
    Sabotage(
        "parts_are_put_at_the_start",
        "HfConsolidationTest.test_a_grid_of_parts_becomes_the_whole",
        in_module(_CONSOLIDATION, "_write_sub_tensor_to_file_optimized", without_offsets),
        "a: other bytes",
    ),
    Sabotage(
        "parts_are_written_in_one_piece",
        _NAMED,
        in_module(_CONSOLIDATION, "_calculate_max_contiguous_elements", _ignore_gaps),
        "(middle|last): other bytes",
    ),
    Sabotage(
        "no_index_is_written",
        _NAMED,
        in_module(_CONSOLIDATION, "_write_overall_metadata_file", lambda *_: None),
        r"model\.safetensors\.index\.json",
    ),
    Sabotage(
        "names_have_slashes",
        "HfWriterTest.test_nested_state_gets_dotted_names",
        lambda: replaced(default_planner, "flatten_state_dict", _slashes),
        "names in model-00001-of-00001",
    ),
    Sabotage(
        "copies_of_shared_memory_are_saved",
        "HfWriterTest.test_what_the_format_cannot_hold_is_refused",
        in_module("safetensors.torch", "save", _save_copies),
        "CheckpointException not raised",
    ),
    Sabotage(
        "a_damaged_file_is_an_empty_one",
        "HfReaderTest.test_a_file_that_was_cut_off_is_refused_kept_20",
        in_module(_STORAGE, "HuggingFaceStorageReader.read_metadata", _unreadable_is_empty),
        "deserializing header. does not match",
    ),
    Sabotage(
        "a_part_is_negated",
        "HfReaderTest.test_a_part_of_the_checkpoint_is_read",
        _read_and(lambda tensor: tensor.neg_()),
        "b: .* differ",
    ),
    Sabotage(
        "a_cast_loses_the_last_bit",
        "HfReaderTest.test_values_are_cast_to_the_dtype_that_is_there",
        _read_and(lambda tensor: tensor.view(torch.int16).bitwise_and_(-2)),
        "a: .* differ, the first at 0",
    ),
    Sabotage(
        "a_file_that_says_nothing_is_whole",
        "HfConsolidationTest.test_files_that_do_not_say_where_their_parts_lie_are_refused",
        in_module(_CONSOLIDATION, "_get_dcp_custom_metadata", _all_start_at_zero),
        "ValueError not raised",
    ),
    Sabotage(
        "empty_tensors_are_lost",
        "HfConsolidationTest.test_empty_tensors_stay",
        in_module(_CONSOLIDATION, "_parse_input_metadata", _lose_the_empty),
        "names in model-00001-of-00001",
    ),
    Sabotage(
        "what_is_not_a_tensor_is_refused",
        "HfWriterTest.test_what_is_not_a_tensor_does_no_harm",
        in_module(_STORAGE, "HuggingFaceStorageWriter.write_data", _refuse_others),
        MENDED,
    ),
    Sabotage(
        "old_files_are_removed",
        "HfWriterTest.test_a_checkpoint_over_one_of_more_files_is_all_that_is_read",
        in_module(_STORAGE, "HuggingFaceStorageWriter.prepare_global_plan", _remove_the_old),
        MENDED,
    ),
    *(
        Sabotage(f"mended_where_{test}", f"HfConsolidationTest.test_{test}", _mended_consolidation, MENDED)
        for test in ("a_scalar_keeps_its_value", "integers_are_consolidated", "complex_numbers_are_consolidated")
    ),
]
