"""Sabotages of HuggingFace's format in one process."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from typing import Any

from torch.distributed.checkpoint import default_planner

from checkpoint_sabotages.sabotage import Sabotage, replaced


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
]
