"""The entries that match no test. Pure.

An entry is judged where this run has listed every test that it could match: all files that its id names have run as a
whole. An entry about tests that `-k`, a shard, a stop or the choice of files has left out is not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch_testing_shim._shared.expectation_ids import is_glob
from torch_testing_shim._shared.expectations import Expectation

from ..result import FileResult


@dataclass(frozen=True)
class Listed:
    """The tests that a run lists."""

    names: tuple[str, ...] = ()  # the names of all files that could have been selected
    whole: frozenset[str] = frozenset()  # the names of those whose tests were all selected
    is_whole_tree: bool = False  # all tests of all files were selected

    def files_of(self, entry: Expectation) -> list[str]:
        """The files that an entry's id names."""
        file = entry.pattern.file
        if not is_glob(file):  # so that many entries about many files are looked up fast
            return [file] if file in self.names else []
        return [name for name in self.names if entry.pattern.covers_file(name)]


def is_listed(result: FileResult) -> bool:
    """True where the file has listed all of its tests."""
    return not result.ending.is_stopped and not any(not fault.test for fault in result.faults)


def tests_of(result: FileResult) -> set[str]:
    """The tests of a file: each that was planned is in its result."""
    reported = (entry.test for entry in result.entries)
    return {
        *reported,
        *(fault.test for fault in result.faults if fault.test),
        *(entry.test for entry in result.interrupted),
    }


def unmatched_entries(
    entries: Iterable[Expectation], results: Sequence[FileResult], listed: Listed, device: str = ""
) -> list[Expectation]:
    """Return the entries that match no test, as far as the run can judge them.

    Args:
        entries: the entries that hold with the version of torch in use.
        device: the device type of a file whose process has reported none.
    """
    told = {result.file: result for result in results if result.file in listed.whole and is_listed(result)}
    tests = {name: tests_of(result) for name, result in told.items()}
    found = []
    for entry in entries:
        files = listed.files_of(entry)
        if not files and listed.is_whole_tree:
            found.append(entry)
        if not files or not all(file in told for file in files):
            continue
        holding = [file for file in files if entry.holds_on(told[file].device or device)]
        if holding and not any(_matches(entry, tests[file]) for file in holding):
            found.append(entry)
    return found


def _matches(entry: Expectation, tests: set[str]) -> bool:
    if entry.pattern.is_exact:
        return not tests.isdisjoint(entry.pattern.exact_names)
    return any(entry.pattern.covers_test(test) for test in tests)
