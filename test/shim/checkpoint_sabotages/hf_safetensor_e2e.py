"""Sabotages of HuggingFace checkpoints between ranks."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import torch.distributed as dist

from checkpoint_sabotages.hf_storage import in_module, without_offsets
from checkpoint_sabotages.sabotage import MENDED, Sabotage

#: The rank that does something wrong, where one is enough.
GUILTY = 2


def _write_nothing(original: Any, writer: Any, plan: Any, planner: Any) -> Any:
    if dist.get_rank() == GUILTY:
        plan = dataclasses.replace(plan, items=[])
    return original(writer, plan, planner)


def _write_twice(original: Any, writer: Any, plan: Any, planner: Any) -> Any:
    written = original(writer, plan, planner)
    if dist.get_rank() == GUILTY:
        for path in Path(writer.path).glob(f"shard-{GUILTY + 1:05}-*.safetensors"):
            shutil.copy(path, path.with_name(f"again-{path.name}"))
    return written


def _write_each_part_into_its_file(original: Any, writer: Any, plan: Any, planner: Any) -> Any:
    """Torch keeps one part of a tensor in each file."""
    for number, item in enumerate(plan.items):
        written = original(writer, dataclasses.replace(plan, items=[item]), planner)
        written.wait()
        for path in Path(writer.path).glob(f"shard-{dist.get_rank() + 1:05}-*.safetensors"):
            path.rename(path.with_name(f"part-{number}-of-{path.name}"))
    return written


def _read_nothing(original: Any, reader: Any, plan: Any, planner: Any) -> Any:
    if dist.is_initialized() and dist.get_rank() == GUILTY:
        plan = dataclasses.replace(plan, items=[])
    return original(reader, plan, planner)


def _say_nothing(original: Any, *args: Any, **options: Any) -> Any:
    made = original(*args, **options)
    return {} if dist.get_rank() == GUILTY else made


_STORAGE = "torch.distributed.checkpoint.hf_storage"
_CONSOLIDATION = "torch.distributed.checkpoint._consolidate_hf_safetensors"
_LAYOUTS = "HfSafetensorE2ETest.test_each_layout_is_written_once_and_loads_as_any_other_layout_"

SABOTAGES = [
    Sabotage(
        "one_rank_writes_nothing",
        _LAYOUTS + "rows",
        in_module(_STORAGE, "HuggingFaceStorageWriter.write_data", _write_nothing),
        "even: 8 of 32 elements differ, the first at 16",
    ),
    Sabotage(
        "one_rank_writes_twice",
        _LAYOUTS + "rows",
        in_module(_STORAGE, "HuggingFaceStorageWriter.write_data", _write_twice),
        "times that even was written: ",
    ),
    Sabotage(
        "parts_are_put_at_the_start",
        "HfSafetensorE2ETest.test_a_save_consolidates_layout_grid",
        in_module(_CONSOLIDATION, "_write_sub_tensor_to_file_optimized", without_offsets),
        "even is not what was saved",
    ),
    Sabotage(
        "a_rank_does_not_say_what_it_consolidated",
        "HfSafetensorE2ETest.test_all_ranks_consolidate_together",
        in_module(_CONSOLIDATION, "_consolidate_safetensors_files", _say_nothing),
        "index: .*missing: 'uneven'",
    ),
    Sabotage(
        "one_rank_reads_nothing",
        "HfSafetensorE2ETest.test_fewer_ranks_load",
        in_module(_STORAGE, "HuggingFaceStorageReader.read_data", _read_nothing),
        "even in (one rank|two ranks): .* differ",
    ),
    Sabotage(
        "a_part_of_the_model_is_not_loaded",
        "HfSafetensorE2ETest.test_a_published_checkpoint_is_trained_with_fsdp_and_saved",
        in_module(_STORAGE, "HuggingFaceStorageReader.read_data", _read_nothing),
        r"0\.weight: .* differ",
    ),
    Sabotage(
        "both_parts_are_written",
        "HfSafetensorE2ETest.test_two_parts_of_a_tensor_in_one_rank_are_both_written",
        in_module(_STORAGE, "HuggingFaceStorageWriter.write_data", _write_each_part_into_its_file),
        MENDED,
    ),
]
