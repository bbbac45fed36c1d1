"""The persistent ranks of a test class, and the values that the class sets for them."""

from __future__ import annotations

import atexit
import functools
import types
from typing import Any

import torch

from torch_testing_shim._cases.world import default_ranks
from torch_testing_shim._engine.controller import checked_world_size
from torch_testing_shim._engine.devices import rank_device
from torch_testing_shim._engine.joined.joined_persistent_ranks import JoinedPersistentRanks
from torch_testing_shim._engine.joined.launched_ranks import persistent_ranks
from torch_testing_shim._engine.launcher import STARTER
from torch_testing_shim._engine.persistent_ranks import PersistentRanks
from torch_testing_shim._shared.settings import read_settings

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: The world size of a class that leaves it to the devices to decide.
UNSET = -2

AnyRanks = PersistentRanks | JoinedPersistentRanks
#: Test class -> its ranks; of one class at a time.
PERSISTENT: dict[type, AnyRanks] = {}


class OwnDevice:
    """The device of a rank's tensors; a test case may replace it."""

    def __get__(self, instance: Any, owner: type) -> torch.device:
        rank = owner.rank if instance is None else instance.rank  # type: ignore[attr-defined]
        return rank_device(max(0, rank), str(class_value(owner, "device_type")))


def running_ranks_of(cls: type) -> AnyRanks | None:
    """Return the ranks of a test class that can run a test; None where there are none, or where they run on another
    device than the test has to."""
    ranks = PERSISTENT.get(cls)
    is_usable = ranks is not None and ranks.are_running and ranks.device == read_settings().device
    return ranks if is_usable else None


def start_ranks_of(cls: Any, world_size: int, *, stops_at_subtest: bool = False) -> AnyRanks:
    """Start the ranks of a test class, and set `cls.rdvz_file` to the file that they meet in.

    Args:
        cls: the class.
        world_size: number of ranks, at least 1.
        stops_at_subtest: tests end at the first subtest that fails.
    """
    _end_all()
    _end_all_at_exit()
    ranks = PERSISTENT[cls] = persistent_ranks(cls, world_size, stops_at_subtest=stops_at_subtest)
    cls.rdvz_file = str(ranks.scratch.rendezvous)
    if _leaves_ranks_to_devices(cls):
        cls.world_size = cls._world_size_of_devices = world_size
    return ranks


def class_value(cls: type, name: str) -> Any:
    """Read a setting of a class, given as value, property, class method or method."""
    found = getattr(cls, name)
    if isinstance(found, property) and found.fget is not None:
        return found.fget(object.__new__(cls))
    if isinstance(found, types.FunctionType):
        return found(object.__new__(cls))
    return found() if callable(found) else found


def ranks_wanted(cls: type) -> int:
    """Return the number of ranks of a class.

    Raises:
        unittest.SkipTest: it is less than 1.
        LaunchError: it is not an int.
    """
    wanted = default_ranks() if _leaves_ranks_to_devices(cls) else class_value(cls, "world_size")
    return checked_world_size(wanted)


def _leaves_ranks_to_devices(cls: type) -> bool:
    """Return whether the class sets no number of ranks itself. The number that it got when its ranks were last started
    does not count."""
    return class_value(cls, "world_size") in (UNSET, getattr(cls, "_world_size_of_devices", UNSET))


def _descriptors() -> frozenset[int]:
    """Return the descriptors that this process has open for persistent ranks."""
    return frozenset().union(*(ranks.descriptors for ranks in PERSISTENT.values()))


@functools.cache
def _end_all_at_exit() -> None:
    STARTER.kept_descriptors = _descriptors
    atexit.register(_end_all)


def _end_all() -> None:
    """End all persistent ranks by force: another class's, or those of a class whose `tearDownClass` did not run."""
    while PERSISTENT:
        PERSISTENT.popitem()[1].close()
