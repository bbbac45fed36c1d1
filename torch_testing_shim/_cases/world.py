"""The world of a test's ranks: their number, their time limits, and the end of their process groups.

A test file may assign to these names of `common_distributed`, as upstream.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from time import sleep  # the function itself: a test may have replaced `time`'s
from typing import Any

import torch.distributed as dist

from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._engine.joined.world import JOINED
from torch_testing_shim._engine.rank_outcomes import skip_reason_at_end
from torch_testing_shim._engine.rank_steps import current_steps, end_after_failed_subtests, ends_forked_children
from torch_testing_shim._shared.settings import read_settings
from torch_testing_shim._upstream.graft import assigned

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Ranks of a test that does not set their number.
DEFAULT_WORLD_SIZE = 4
#: Test method -> seconds that it may take; for tests to fill (upstream's name, torch 2.13).
TIMEOUT_OVERRIDE: dict[str, int] = {}
#: A process group gives up a little before its test does, so that the error names the collective that hung.
SHARE_OF_TIMEOUT = 0.9
#: How long a rank that has failed waits before it destroys its group, in seconds, so that gloo's thread, which works
#: without Python's lock, can take it and drop the last tensor: torch 2.6 hangs where the group is destroyed before.
_DROP_SECONDS = 0.002
#: Where test files find the names.
_FACE = "torch_testing_shim.common_distributed"
#: Process groups whose connections stay.
_KEPT: list[dist.ProcessGroup] = []


def default_world_size() -> int:
    """Return the number of ranks of a test that does not set it."""
    return int(assigned(_FACE, "DEFAULT_WORLD_SIZE") or DEFAULT_WORLD_SIZE)


def default_ranks() -> int:
    """Return the number of ranks of a test that leaves it to the devices: one for each accelerator; 4 on the CPU, and
    at least 4 where ranks may share devices."""
    device = device_in_use()
    return max(device.count, DEFAULT_WORLD_SIZE) if device.may_be_shared else device.count or DEFAULT_WORLD_SIZE


def get_timeout(test_id: str) -> int:
    """Return the whole seconds that the test may take (upstream's `get_timeout`, torch 2.13):
    DISTRIBUTED_TESTS_DEFAULT_TIMEOUT, 300 by default, except for methods in TIMEOUT_OVERRIDE."""
    overrides = assigned(_FACE, "TIMEOUT_OVERRIDE") or TIMEOUT_OVERRIDE
    default = assigned(_FACE, "TIMEOUT_DEFAULT")
    return int(overrides.get(test_id.rpartition(".")[2], default or math.ceil(read_settings().timeout_seconds)))


def seconds_for(test_id: str) -> float:
    """Return the seconds that the test may take, by `get_timeout` or by a test file's replacement of it."""
    return float((assigned(_FACE, "get_timeout") or get_timeout)(test_id))


def group_timeout(test_id: str) -> timedelta:
    """Return how long a collective of the test may take."""
    return timedelta(seconds=SHARE_OF_TIMEOUT * seconds_for(test_id))


def keep_connections() -> None:
    """Keep the connections of this rank's process groups open until the process exits; where a launcher has started it,
    and it goes on to the next test, until that one's end.

    A gloo group that nothing holds any more closes its connections one by one, 10 ms each (torch 2.13): with 64 ranks
    that takes longer than the rest of a small test. Torch 2.6's may never end: it waits, with Python's lock, for a
    thread that drops a tensor and wants the lock. The kernel closes the connections of a process that ends at once.
    """
    if JOINED.world is not None:
        _KEPT.clear()  # of the test before, whose threads have dropped their tensors by now
    _KEPT.extend(dist.distributed_c10d._world.pg_map)


def leave_group_at_end() -> None:
    """Destroy the process group of a rank that is done, if it has one."""
    if dist.is_initialized():
        if dist.get_backend() == "gloo":  # another backend may have more to do at its end
            keep_connections()
        dist.destroy_process_group()


def drop_connections() -> None:
    """Let go of the process groups whose connections were kept, in a rank that goes on to another test."""
    _KEPT.clear()


def run_in_group(test: Callable[[], Any], leave: Callable[[], Any], is_on_cpu: Callable[[], bool]) -> Any:
    """Call a test in its process group, leave the group, and return the test's result. Where the test fails, the group
    is destroyed at once.

    Args:
        leave: leaves the group after a test that has returned.
        is_on_cpu: whether the test's device is the CPU, asked after the test; an accelerator's group may have more to
            do at its end than to close connections.
    """
    try:
        with ends_forked_children():
            result = test()
        end_after_failed_subtests()
    except BaseException as error:  # a distributed checkpoint's errors are no Exceptions (torch 2.13)
        leave_group_after(error)
        raise
    if is_on_cpu():
        keep_connections()
    leave()
    return result


def leave_group_after(error: BaseException) -> None:
    """Destroy the process group of a test that has raised `error`, without a barrier, which others may never reach. Its
    connections close, so the others notice. After a skip in a rank the group stays until the process ends: all ranks
    are expected to skip, and another may still be connecting."""
    if current_steps() is not None and skip_reason_at_end(error) is not None:
        return
    if dist.is_initialized():  # the test may have destroyed it; its own error must not be hidden
        sleep(_DROP_SECONDS)
        dist.destroy_process_group()
