"""Which ranks a test gets: this process and others where a launcher has started them, else new processes."""

from __future__ import annotations

import unittest

from torch_testing_shim._engine.controller import TestRanks
from torch_testing_shim._engine.job import LaunchError
from torch_testing_shim._engine.joined.joined_persistent_ranks import JoinedPersistentRanks
from torch_testing_shim._engine.joined.joined_ranks import JoinedRanks
from torch_testing_shim._engine.joined.world import JOINED
from torch_testing_shim._engine.persistent_ranks import PersistentRanks
from torch_testing_shim._shared.settings import read_launch

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def test_ranks() -> TestRanks:
    """Return the ranks of a test: this process and others where a launcher has started them, else new processes.

    Raises:
        LaunchError: a launcher has started this process, and nobody has joined its world.
    """
    if JOINED.world is not None:
        return JoinedRanks(JOINED.world)
    _refuse_stray_launch()
    return TestRanks()


def persistent_ranks(
    test_class: type[unittest.TestCase], world_size: int, *, stops_at_subtest: bool
) -> PersistentRanks | JoinedPersistentRanks:
    """Return the ranks of a test class likewise."""
    if JOINED.world is not None:
        return JoinedPersistentRanks(JOINED.world, test_class, world_size, stops_at_subtest=stops_at_subtest)
    _refuse_stray_launch()
    return PersistentRanks(test_class, world_size, stops_at_subtest=stops_at_subtest)


def _refuse_stray_launch() -> None:
    if read_launch() is not None:
        raise LaunchError("torchrun has to start the test file, or pytest with -p torch_testing_shim.pytest_plugin")


test_ranks.__test__ = False  # type: ignore[attr-defined]  # no test, whatever pytest makes of its name
