"""Which accelerators ranks are to use, and folders for them to meet in; `common_distributed` has the names."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from torch_testing_shim._engine.devices import device_in_use, rank_device
from torch_testing_shim._shared.settings import changed_environment
from torch_testing_shim._skips.flags import FILE_SCHEMA

__all__ = ["cleanup_temp_dir", "init_multigpu_helper", "initialize_temp_directories"]

#: What `initialize_temp_directories` has made and not yet been told to remove.
_TEMPORARY = contextlib.ExitStack()


def init_multigpu_helper(world_size: int, backend: str) -> dict[int, list[int]]:
    """Which accelerators each rank is to use, by index (upstream's name, torch 2.13): one for each rank where there are
    enough, none where there are not. On the CPU each rank has the index of its own."""
    if not device_in_use().has_room_for(world_size):
        return {rank: [] for rank in range(world_size)}
    indices = {rank: rank_device(rank).index for rank in range(world_size)}
    return {rank: [rank if index is None else index] for rank, index in indices.items()}


def initialize_temp_directories(init_method: str | None = None) -> None:
    """Makes a temporary folder with the folders `barrier`, `test_dir` and `init_dir`, and tells it by TEMP_DIR, and by
    INIT_METHOD how a process group is to meet: by `init_method`, or a file in it (upstream's name, torch 2.13)."""
    folder = Path(_TEMPORARY.enter_context(tempfile.TemporaryDirectory()))
    for name in ("barrier", "test_dir", "init_dir"):
        (folder / name).mkdir()
    method = init_method if init_method is not None else f"{FILE_SCHEMA}{folder / 'init_dir' / 'shared_init_file'}"
    _TEMPORARY.enter_context(changed_environment({"TEMP_DIR": str(folder), "INIT_METHOD": method}))


def cleanup_temp_dir() -> None:
    """Removes what `initialize_temp_directories` has made, the variables included (upstream's name, torch 2.13)."""
    _TEMPORARY.close()
