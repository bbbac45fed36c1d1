"""The surroundings of a test of torch.distributed: accelerators for its ranks, folders to meet in, debug settings.

`common_distributed` passes the names on.
"""

from __future__ import annotations

import contextlib
import functools
import resource
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import torch.distributed as dist

from torch_testing_shim._engine.devices import accelerator_in_use, device_in_use, rank_device
from torch_testing_shim._shared.settings import changed_environment
from torch_testing_shim._skips.flags import FILE_SCHEMA

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Test = TypeVar("Test", bound=Callable[..., Any])

#: Undoes what `initialize_temp_directories` has done so far.
_TEMPORARY = contextlib.ExitStack()

_take_debug_level: Callable[[], None] = dist.set_debug_level_from_env  # type: ignore[attr-defined]


def accelerators() -> list[str]:
    """Return the type of the accelerator in use, if there is one."""
    device_type = accelerator_in_use()
    return [] if device_type is None else [device_type]


def init_multigpu_helper(world_size: int, backend: str) -> dict[int, list[int]]:
    """Return the accelerators that each rank should use, by index (upstream's name, torch 2.13): one for each rank
    where there are enough, none otherwise. On the CPU each rank has its own number."""
    if not device_in_use().has_room_for(world_size):
        return {rank: [] for rank in range(world_size)}
    indices = {rank: rank_device(rank).index for rank in range(world_size)}
    return {rank: [rank if index is None else index] for rank, index in indices.items()}


def initialize_temp_directories(init_method: str | None = None) -> None:
    """Make a temporary folder with the folders `barrier`, `test_dir` and `init_dir`, and set TEMP_DIR to it. Set
    INIT_METHOD to the way a process group meets: `init_method`, or a file in the folder (upstream's name, torch
    2.13)."""
    folder = Path(_TEMPORARY.enter_context(tempfile.TemporaryDirectory()))
    for name in ("barrier", "test_dir", "init_dir"):
        (folder / name).mkdir()
    method = init_method if init_method is not None else f"{FILE_SCHEMA}{folder / 'init_dir' / 'shared_init_file'}"
    _TEMPORARY.enter_context(changed_environment({"TEMP_DIR": str(folder), "INIT_METHOD": method}))


def cleanup_temp_dir() -> None:
    """Undo `initialize_temp_directories`, the variables included (upstream's name, torch 2.13)."""
    _TEMPORARY.close()


@contextlib.contextmanager
def core_dumps_disabled() -> Iterator[None]:
    """Context in which no process writes a core dump, so that an assert on one of AMD's GPUs raises an exception as on
    others, instead of ending the process (upstream's name, torch 2.15). The soft limit is put back."""
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, limits)


def with_dist_debug_levels(levels: Sequence[str]) -> Callable[[Test], Test]:
    """Run a test once for each debug level ("OFF", "INFO", "DETAIL"), with a barrier after each (upstream's
    `with_dist_debug_levels`, torch 2.13). The level is put back even where the test fails."""

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            result = None
            for level in levels:
                try:
                    with changed_environment({"TORCH_DISTRIBUTED_DEBUG": level}):
                        _take_debug_level()
                        result = test(*args, **kwargs)
                        dist.barrier()
                finally:
                    _take_debug_level()
            return result

        return cast(Test, wrapper)

    return decorate


def with_nccl_blocking_wait(func: Test) -> Test:
    """Run a test with TORCH_NCCL_BLOCKING_WAIT=1 and without TORCH_NCCL_ASYNC_ERROR_HANDLING, and put both back, which
    upstream's does not where the first was not set (upstream's name, torch 2.13)."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with changed_environment({"TORCH_NCCL_BLOCKING_WAIT": "1", "TORCH_NCCL_ASYNC_ERROR_HANDLING": None}):
            return func(*args, **kwargs)

    return cast(Test, wrapper)
