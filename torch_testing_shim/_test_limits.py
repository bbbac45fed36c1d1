"""How many ranks a test has, and how long it may take, where it does not say."""

from __future__ import annotations

import math
from datetime import timedelta

from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._settings import read_settings

__all__ = ["DEFAULT_WORLD_SIZE", "TIMEOUT_OVERRIDE", "default_ranks", "get_timeout", "group_timeout"]

#: Ranks of a test that does not say how many it wants.
DEFAULT_WORLD_SIZE = 4
#: Seconds that single test methods may take, by name; for tests to fill (upstream's name, torch 2.13).
TIMEOUT_OVERRIDE: dict[str, int] = {}
#: A process group gives up a little before its test does, so that the error names the collective that hung.
_SHARE_OF_TIMEOUT = 0.9


def default_ranks() -> int:
    """Ranks of a test that leaves their number to the devices: one for each accelerator; 4 on the CPU, and at least 4
    where ranks may share devices."""
    device = device_in_use()
    return max(device.count, DEFAULT_WORLD_SIZE) if device.may_be_shared else device.count or DEFAULT_WORLD_SIZE


def get_timeout(test_id: str) -> int:
    """Whole seconds that the test may take (upstream's `get_timeout`, torch 2.13): DISTRIBUTED_TESTS_DEFAULT_TIMEOUT,
    300 by default, but for methods that stand in TIMEOUT_OVERRIDE."""
    return TIMEOUT_OVERRIDE.get(test_id.rpartition(".")[2], math.ceil(read_settings().timeout_seconds))


def group_timeout(test_id: str) -> timedelta:
    """How long a collective of the test may take."""
    return timedelta(seconds=_SHARE_OF_TIMEOUT * get_timeout(test_id))
