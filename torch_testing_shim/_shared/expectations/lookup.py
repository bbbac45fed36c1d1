"""Which entry applies to a test. Pure.

Of the entries that hold on the device, an exact id comes before every glob, and of two globs the later one counts: it
stands below as the exception to what is said above.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .expectation import Expectation
from .ids import is_glob

__all__ = ["Expectations", "FileExpectations"]


@dataclass(frozen=True)
class FileExpectations:
    """The entries that are about one file.

    Attributes:
        entries: them, in their order.
    """

    entries: tuple[Expectation, ...] = ()
    _exact: dict[str, list[Expectation]] = field(init=False, repr=False, compare=False, default_factory=dict)
    _globs: list[Expectation] = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        for entry in reversed(self.entries):
            for name in entry.pattern.exact_names:
                self._exact.setdefault(name, []).append(entry)
            if not entry.pattern.is_exact:
                self._globs.append(entry)

    def find(self, test: str, device: str) -> Expectation | None:
        """The entry that applies to `Class.test` on a device type; None where none does."""
        for entry in self._exact.get(test, ()):
            if entry.holds_on(device):
                return entry
        matching = (entry for entry in self._globs if entry.holds_on(device) and entry.pattern.covers_test(test))
        return next(matching, None)


class Expectations:
    """All entries that hold with the version of torch in use.

    Args:
        entries: them, in the file's order.
    """

    def __init__(self, entries: Iterable[Expectation] = ()) -> None:
        self.entries = tuple(entries)
        self._by_file: dict[str, list[tuple[int, Expectation]]] = {}
        self._for_many: list[tuple[int, Expectation]] = []
        for place, entry in enumerate(self.entries):
            file = entry.pattern.file
            (self._for_many if is_glob(file) else self._by_file.setdefault(file, [])).append((place, entry))

    def for_file(self, name: str) -> FileExpectations:
        """The entries about the file of this name."""
        for_many = [one for one in self._for_many if one[1].pattern.covers_file(name)]
        found = sorted([*self._by_file.get(name, ()), *for_many], key=lambda one: one[0])
        return FileExpectations(tuple(entry for _, entry in found))
