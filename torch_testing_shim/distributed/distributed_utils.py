"""Upstream's `distributed.distributed_utils`: a process group that only knows its rank and its size.

Unlike that of `fake_pg` it has no collectives at all: calling one raises an error.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch._C._distributed_c10d import HashStore
from torch.distributed.distributed_c10d import STORE_BASED_BARRIER_PREFIX

from torch_testing_shim._upstream.graft import served

__all__ = ["MockProcessGroup", "create_mock_pg", "mock_init_dist", "with_dist", "with_fake_comms"]

__getattr__ = served(__name__)

BACKEND = "mock_process_group"
#: Nobody is waited for, so it need not be long.
TIMEOUT = timedelta(seconds=1)


class MockProcessGroup(dist.ProcessGroup):
    """A process group without collectives (upstream's `MockProcessGroup`, torch 2.13)."""

    def getBackendName(self) -> str:
        return BACKEND


def create_mock_pg(prefix_store: Any, rank: int, world_size: int, timeout: timedelta) -> MockProcessGroup:
    """The group of this backend; torch calls it (upstream's name, torch 2.13)."""
    group_class: Any = MockProcessGroup  # torch's own annotations lack this constructor
    group: MockProcessGroup = group_class(rank, world_size)
    return group


if BACKEND not in dist.Backend.backend_list:
    dist.Backend.register_backend(BACKEND, create_mock_pg, devices=["cpu", "cuda", "xpu"])


def mock_init_dist(rank: int, world_size: int) -> None:
    """Makes this process a rank of a world that has no others (upstream's `mock_init_dist`, torch 2.13).

    Raises:
        AssertionError: there is a process group already.
    """
    if dist.is_initialized():
        raise AssertionError("there is a process group already")
    store = HashStore()
    # torch counts the ranks that have come to the barrier of the first group: say that the others have.
    store.add(f"{STORE_BASED_BARRIER_PREFIX}:0", world_size - 1)
    arguments: dict[str, Any] = {"rank": rank, "world_size": world_size, "group_name": "fake"}
    dist.init_process_group(BACKEND, None, TIMEOUT, store=store, **arguments)


@contextmanager
def with_dist(rank: int = 0, world_size: int = 2) -> Iterator[None]:
    """Context: this process is `rank` of `world_size` (upstream's `with_dist`, torch 2.13)."""
    mock_init_dist(rank, world_size)
    try:
        yield
    finally:
        dist.destroy_process_group()


def with_fake_comms(func: Callable[..., Any] | None = None, rank: int = 0, world_size: int = 2) -> Any:
    """Runs a test method in `with_dist`; used bare or with arguments (upstream's `with_fake_comms`, torch 2.13)."""
    if func is None:
        return functools.partial(with_fake_comms, rank=rank, world_size=world_size)
    test = func

    @functools.wraps(test)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        with with_dist(rank, world_size):
            return test(self, *args, **kwargs)

    return wrapper
