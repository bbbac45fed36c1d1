"""How many ranks a test has, and how long it may take, where it does not say.

What a test file assigns to these names of `common_distributed` holds here, as it does upstream.
"""

from __future__ import annotations

import math
from datetime import timedelta

from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._shared.settings import read_settings
from torch_testing_shim._upstream.graft import assigned

__all__ = [
    "DEFAULT_WORLD_SIZE",
    "TIMEOUT_OVERRIDE",
    "default_ranks",
    "default_world_size",
    "get_timeout",
    "group_timeout",
    "seconds_for",
]

#: Ranks of a test that does not say how many it wants.
DEFAULT_WORLD_SIZE = 4
#: Seconds that single test methods may take, by name; for tests to fill (upstream's name, torch 2.13).
TIMEOUT_OVERRIDE: dict[str, int] = {}
#: A process group gives up a little before its test does, so that the error names the collective that hung.
_SHARE_OF_TIMEOUT = 0.9


#: Where test files find the names.
_FACE = "torch_testing_shim.common_distributed"


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
