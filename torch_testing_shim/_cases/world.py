"""The world of a test's ranks: how many they are, how long they may take, and how they leave their process groups.

What a test file assigns to these names of `common_distributed` holds here, as it does upstream.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._engine.forked_child import ends_forked_children
from torch_testing_shim._engine.rank_steps import current_steps, end_after_failed_subtests
from torch_testing_shim._engine.skip_codes import skip_message, skip_reason_of
from torch_testing_shim._shared.settings import read_settings
from torch_testing_shim._upstream.graft import assigned

__all__ = [
    "DEFAULT_WORLD_SIZE",
    "TIMEOUT_OVERRIDE",
    "default_ranks",
    "default_world_size",
    "get_timeout",
    "group_timeout",
    "keep_connections",
    "leave_group_after",
    "run_in_group",
    "seconds_for",
]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Ranks of a test that does not say how many it wants.
DEFAULT_WORLD_SIZE = 4
#: Seconds that single test methods may take, by name; for tests to fill (upstream's name, torch 2.13).
TIMEOUT_OVERRIDE: dict[str, int] = {}
#: A process group gives up a little before its test does, so that the error names the collective that hung.
_SHARE_OF_TIMEOUT = 0.9
#: Where test files find the names.
_FACE = "torch_testing_shim.common_distributed"
#: Process groups whose connections stay.
_KEPT: list[dist.ProcessGroup] = []


def default_world_size() -> int:
    """Ranks of a test that does not say how many it wants."""
    return int(assigned(_FACE, "DEFAULT_WORLD_SIZE") or DEFAULT_WORLD_SIZE)


def default_ranks() -> int:
    """Ranks of a test that leaves their number to the devices: one for each accelerator; 4 on the CPU, and at least 4
    where ranks may share devices."""
    device = device_in_use()
    return max(device.count, DEFAULT_WORLD_SIZE) if device.may_be_shared else device.count or DEFAULT_WORLD_SIZE


def get_timeout(test_id: str) -> int:
    """Whole seconds that the test may take (upstream's `get_timeout`, torch 2.13): DISTRIBUTED_TESTS_DEFAULT_TIMEOUT,
    300 by default, but for methods that stand in TIMEOUT_OVERRIDE."""
    overrides = assigned(_FACE, "TIMEOUT_OVERRIDE") or TIMEOUT_OVERRIDE
    default = assigned(_FACE, "TIMEOUT_DEFAULT")
    return int(overrides.get(test_id.rpartition(".")[2], default or math.ceil(read_settings().timeout_seconds)))


def seconds_for(test_id: str) -> float:
    """Seconds that the test may take, as `get_timeout` says, or what a test file has put in its place."""
    return float((assigned(_FACE, "get_timeout") or get_timeout)(test_id))


def group_timeout(test_id: str) -> timedelta:
    """How long a collective of the test may take."""
    return timedelta(seconds=_SHARE_OF_TIMEOUT * seconds_for(test_id))


def keep_connections() -> None:
    """Keeps the connections of this rank's process groups open until the process exits.

    When nothing holds a gloo group any more, it takes its connections down one by one, 10 ms each (torch 2.13): with 64
    ranks that is longer than all the rest of a small test. The kernel closes those of a process that ends at once.
    """
    _KEPT.extend(dist.distributed_c10d._world.pg_map)


def run_in_group(test: Callable[[], Any]) -> Any:
    """Calls a test in its process group and returns what it does; where it fails, leaves the group at once."""
    try:
        with ends_forked_children():
            result = test()
        end_after_failed_subtests()
    except BaseException as error:  # a distributed checkpoint's errors are no Exceptions (torch 2.13)
        leave_group_after(error)
        raise
    return result


def leave_group_after(error: BaseException) -> None:
    """Destroys the process group of a test that has raised `error`, without a barrier, to which others may never come.
    The connections close, so they learn of it. After a skip in a rank the group stays until the process ends, since all
    ranks are expected to skip, and another may still be making its connections."""
    skips_by_code = isinstance(error, SystemExit) and skip_message(error.code) is not None
    if current_steps() is not None and (skips_by_code or skip_reason_of(error) is not None):
        return
    if dist.is_initialized():  # the test may have destroyed it, and what it raised is not to be hidden by that
        dist.destroy_process_group()
