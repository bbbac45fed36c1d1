"""How many ranks a test has, and how long it may take, where it does not say."""

from __future__ import annotations

import math

from torch_testing_shim._settings import read_settings

__all__ = ["DEFAULT_WORLD_SIZE", "get_timeout"]

#: Ranks of a test that does not say how many it wants.
DEFAULT_WORLD_SIZE = 4


def get_timeout(test_id: str) -> int:
    """Whole seconds that the test may take (upstream's `get_timeout`, torch 2.13): DISTRIBUTED_TESTS_DEFAULT_TIMEOUT,
    300 by default, for every `test_id`."""
    return math.ceil(read_settings().timeout_seconds)
