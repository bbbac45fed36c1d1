"""Put a rank back after each of the tests that it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from torch_testing_shim._cases.world import drop_connections
from torch_testing_shim._engine.parked_group import GroupParking
from torch_testing_shim._isolation.fingerprint import differences, take_fingerprint
from torch_testing_shim._isolation.rank_reset import RankReset

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_NONE: Mapping[str, object] = MappingProxyType({})


class RankKeeper:
    """In a rank that is reused, made before its first test: keeps the state that tests find.

    Args:
        classes: the test classes.
        folder: as in `GroupParking`.
        fixtures: values that all tests share, by name.
    """

    def __init__(self, classes: Iterable[type], folder: Path, fixtures: Mapping[str, object] = _NONE) -> None:
        self._groups = GroupParking(folder)
        self._groups.install()
        self._reset = RankReset.of_this_process()
        self._fingerprint = take_fingerprint(classes, fixtures)

    def after_test(self) -> tuple[str, ...]:
        """Put back what a test has changed. Return a sentence for each thing that it has left nevertheless."""
        drop_connections()
        self._groups.between_tests()
        return (*self._reset.restore(), *differences(self._fingerprint))
