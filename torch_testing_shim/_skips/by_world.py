"""Decorators that skip a test by how many ranks or accelerators there are; `common_distributed` has them."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._shared.settings import read_settings
from torch_testing_shim._skips.by_backend import at_least_x_gpu
from torch_testing_shim._skips.conditions import skip_where

__all__ = [
    "get_required_world_size",
    "nccl_skip_if_lt_x_gpu",
    "require_n_gpus_for_nccl_backend",
    "requires_ddp_rank",
    "requires_world_size",
    "skip_if_no_gpu",
    "skip_if_odd_worldsize",
    "skip_if_small_worldsize",
]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Test = TypeVar("Test", bound=Callable[..., Any])

#: Below it, a world is small (upstream's, torch 2.13).
_SMALL_WORLD = 8


def _world_size(test_case: unittest.TestCase) -> int:
    """WORLD_SIZE, or what the test case says."""
    return read_settings().world_size or int(getattr(test_case, "world_size", 1))


def skip_if_no_gpu(func: Test) -> Test:
    """Skips a test where each rank cannot have an accelerator of its own (upstream's name, torch 2.13). With the CPU
    chosen by hand, its ranks count instead."""

    def condition(test_case: unittest.TestCase) -> str | None:
        wanted = _world_size(test_case)
        return None if at_least_x_gpu(max(1, wanted)) else _too_few(wanted)

    return skip_where(condition)(func)


def skip_if_small_worldsize(func: Test) -> Test:
    """Skips a test that runs on fewer than 8 ranks, unless BACKEND is mpi (upstream's name, torch 2.13)."""
    return _skip_by_world(lambda size: size < _SMALL_WORLD, "the world size is too small")(func)


def skip_if_odd_worldsize(func: Test) -> Test:
    """Skips a test that runs on an odd number of ranks, unless BACKEND is mpi (upstream's name, torch 2.13)."""
    return _skip_by_world(lambda size: size % 2 == 1, "the world size is odd")(func)


def _skip_by_world(is_unfit: Callable[[int], bool], reason: str) -> Callable[[Test], Test]:
    def condition(test_case: unittest.TestCase) -> str | None:
        size = _world_size(test_case)
        return f"{reason}: {size}" if read_settings().backend != "mpi" and is_unfit(size) else None

    return skip_where(condition)


def require_n_gpus_for_nccl_backend(n: int, backend: str) -> Callable[[Test], Test]:
    """Skips a test of the backend "nccl" where fewer than `n` accelerators are found; a test of another backend runs
    (upstream's name, torch 2.13)."""

    def condition(_: unittest.TestCase) -> str | None:
        return None if backend != "nccl" or at_least_x_gpu(n) else _too_few(n)

    return skip_where(condition)


def nccl_skip_if_lt_x_gpu(backend: str, x: int) -> Callable[[Test], Test]:
    """`require_n_gpus_for_nccl_backend(x, backend)` by its other name (torch 2.13)."""
    return require_n_gpus_for_nccl_backend(x, backend)


def requires_world_size(n: int) -> Callable[[Test], Test]:
    """Says that a test wants `n` ranks, for `get_required_world_size`, and skips it where fewer accelerators are found
    (upstream's `requires_world_size`, torch 2.13). With the CPU chosen by hand, its ranks count instead."""

    def condition(_: unittest.TestCase) -> str | None:
        return None if at_least_x_gpu(n) else _too_few(n)

    def decorate(test: Test) -> Test:
        decorated = skip_where(condition)(test)
        decorated._required_world_size = n  # type: ignore[attr-defined]
        return decorated

    return decorate


def get_required_world_size(obj: Any, default: int) -> int:
    """The number of ranks that the running test of a test case wants by `requires_world_size`, else `default`
    (upstream's name, torch 2.13)."""
    method = getattr(type(obj), getattr(obj, "_testMethodName", ""), None)
    return int(getattr(method, "_required_world_size", default))


def requires_ddp_rank(device: str) -> bool:
    """Whether DDP is to be given a device of this type by its index, as it is accelerators (upstream's name, torch
    2.13)."""
    return torch.device(device).type != "cpu"


def _too_few(wanted: int) -> str:
    return f"needs at least {wanted} accelerators, found {device_in_use().count}"
