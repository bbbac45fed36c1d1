"""Expectations: the tests that are expected not to pass, and the entry that applies to one. Standard library only.

Of the entries that hold on the device, an exact id comes before every glob, and of two globs the later one counts: it
stands below as the exception to what is said above.

Only a test file's process knows its device. So the runner writes the entries about the file into a skip list, and the
process reads from it which tests to skip.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path

from torch_testing_shim._shared.expectation_ids import TestPattern, is_glob, read_id


class Expect(Enum):
    """The expected outcome of a test; the values stand in the file."""

    XFAIL = "xfail"
    SKIP = "skip"
    FLAKY = "flaky"


@dataclass(frozen=True)
class Expectation:
    """One entry."""

    id: str  # the test's id or a glob, as it is written
    expect: Expect  # what is expected of it
    reason: str = ""  # why, in the user's words; may be empty
    issue: str = ""  # a link to more about it; may be empty
    devices: tuple[str, ...] = ()  # the device types that it holds on; empty for all
    torch: str = ""  # the versions of torch that it holds with, as in PEP 440; empty for all
    error: str = ""  # a regular expression that is found in the report of the expected failure; empty for any failure

    @cached_property
    def pattern(self) -> TestPattern:
        """The tests that the id names."""
        return read_id(self.id)

    def holds_on(self, device: str) -> bool:
        """True where the entry applies on a device type; "" is one that is not known."""
        return not self.devices or device in self.devices

    @property
    def why(self) -> str:
        """Reason and issue in one line; "" where neither is given."""
        return f"{self.reason} ({self.issue})" if self.reason and self.issue else self.reason or self.issue


@dataclass(frozen=True)
class FileExpectations:
    """The entries that are about one file, in their order."""

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
    """All entries that hold with the version of torch in use, in the file's order."""

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


def write_skip_list(expectations: FileExpectations, path: Path) -> bool:
    """Write the entries to `path` if one of them skips tests; return whether one does.

    Raises:
        OSError: it cannot be written.
    """
    if not any(entry.expect is Expect.SKIP for entry in expectations.entries):
        return False
    rows = [
        {"id": entry.id, "expect": entry.expect.value, "devices": entry.devices, "why": entry.why}
        for entry in expectations.entries
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return True


def reasons_to_skip(path: Path, tests: Iterable[str], device: str) -> dict[str, str]:
    """The tests to skip on a device type, each with its reason.

    Raises:
        OSError, ValueError: the file is not there, or not what `write_skip_list` has written.
    """
    rows = json.loads(path.read_text(encoding="utf-8"))
    told = FileExpectations(
        tuple(Expectation(row["id"], Expect(row["expect"]), row["why"], devices=tuple(row["devices"])) for row in rows)
    )
    found = {test: told.find(test, device) for test in tests}
    return {
        test: entry.why or f"{entry.id} is expected to be skipped"
        for test, entry in found.items()
        if entry is not None and entry.expect is Expect.SKIP
    }
