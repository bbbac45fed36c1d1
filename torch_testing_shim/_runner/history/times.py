"""Recorded durations of files and tests, with their ranks: runs write them into the times file, sharding reads them.

    {"version": 1,
     "files": {"distributed/test_x": {"seconds": 9.5, "at": 1790000000.0,
                                      "tests": {"Class.test_a": {"seconds": 1.5, "ranks": 4, "at": 1790000001.0}}}}}

Seconds are wall time; `at` is when the file or test started, in seconds since the epoch; `ranks` is 0 for a test
without ranks. A file's `seconds` is null until it has run as a whole.

In a merge of several times files the latest time of each file and each test counts, and a test that is older than the
last whole run of its file is dropped. The order in which files are merged does not matter.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch_testing_shim._shared.records import read_record

from ..plan.selection import FileSelection
from ..result import FileResult, RunSummary

#: The version of the format that this module writes, and the only one that it reads.
VERSION = 1


@dataclass(frozen=True, order=True)
class TestTime:
    """The duration of a test. Of two, the later is the greater."""

    __test__ = False  # not a test class, whatever pytest makes of its name

    at: float  # when it started, in seconds since the epoch
    seconds: float  # its wall time
    ranks: int = 0  # the number of its ranks; 0 for a test without ranks


@dataclass(frozen=True)
class FileTime:
    """The duration of a file."""

    at: float = 0.0  # when the last whole run started, in seconds since the epoch; 0 where there was none
    seconds: float | None = None  # its wall time, or None where the file never ran as a whole
    tests: Mapping[str, TestTime] = field(default_factory=dict)  # the file's tests by name, "Class.test"

    @property
    def ranks(self) -> int:
        """The most ranks that one of its tests had."""
        return max((test.ranks for test in self.tests.values()), default=0)


@dataclass(frozen=True)
class Times:
    """The content of a times file: durations by the names of files."""

    files: Mapping[str, FileTime] = field(default_factory=dict)

    def of_file(self, name: str) -> FileTime:
        """The durations of a file; one without any where it has no record."""
        return self.files.get(name, FileTime())

    def to_json(self) -> str:
        files = {name: asdict(file) for name, file in sorted(self.files.items())}
        return json.dumps({"version": VERSION, "files": files}, indent=1) + "\n"

    def expected(self, selected: Iterable[FileSelection]) -> dict[str, float]:
        """The seconds that the selected files will take, by name; a file without a recorded duration is left out."""
        found = {selection.name: self._seconds(selection) for selection in selected}
        return {name: seconds for name, seconds in found.items() if seconds is not None}

    def _seconds(self, selection: FileSelection) -> float | None:
        file = self.of_file(selection.name)
        chosen = {name for name in file.tests if selection.has(name)}
        if selection.tests or file.seconds is None:
            return sum(file.tests[name].seconds for name in chosen) if chosen else file.seconds
        return max(0.0, file.seconds - sum(test.seconds for name, test in file.tests.items() if name not in chosen))


def merge_times(several: Iterable[Times]) -> Times:
    """Merge several `Times` into one, which has the latest of each file and test."""
    by_name: dict[str, FileTime] = {}
    for times in several:
        for name, file in times.files.items():
            by_name[name] = _merge_files(by_name[name], file) if name in by_name else file
    return Times(by_name)


def _merge_files(one: FileTime, other: FileTime) -> FileTime:
    whole = max(one, other, key=lambda file: (file.seconds is not None, file.at, file.seconds or 0.0))
    tests: dict[str, TestTime] = dict(one.tests)
    for name, test in other.tests.items():
        tests[name] = max(tests.get(name, test), test)
    return FileTime(whole.at, whole.seconds, {name: test for name, test in tests.items() if test.at >= whole.at})


def times_of(summary: RunSummary, whole: Collection[str], now: float) -> Times:
    """Return the durations of a run.

    Args:
        whole: the names of the files whose tests were all selected.
        now: the present, in seconds since the epoch, for a file without a start time.
    """
    return Times({file.file: _file_time(file, file.file in whole, now) for file in summary.files})


def _file_time(result: FileResult, is_whole: bool, now: float) -> FileTime:
    """The durations of a file and its tests, less those that were cut short or skipped."""
    ending = result.ending
    at = ending.started_at or now - ending.seconds
    tests = {
        entry.test: TestTime(max(at, entry.started_at), entry.seconds, len(entry.ranks))
        for entry in result.entries
        if not entry.status.is_skip
    }
    if not is_whole or ending.is_stopped or result.faults:
        return FileTime(tests=tests)
    return FileTime(at, ending.seconds, tests)


def parse_times(text: str | bytes) -> Times:
    """Read the text of `Times.to_json`.

    Raises:
        ValueError: the text is something else; the message says what, in a few words.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is not JSON") from error
    if not isinstance(content, dict) or "version" not in content:
        raise ValueError("it is not a times file")
    if content["version"] != VERSION:
        raise ValueError(f"its version is {content['version']!r}, not {VERSION}")
    try:
        return Times({str(name): _parse_file(file) for name, file in content["files"].items()})
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ValueError("it has a record that is no time") from error


def _parse_file(record: dict[str, Any]) -> FileTime:
    tests = {name: read_record(TestTime, test) for name, test in record["tests"].items()}
    whole = {"seconds": None, "at": 0.0} if record["seconds"] is None else {}
    file = read_record(FileTime, record, tests=tests, **whole)
    numbers = [file.at, file.seconds or 0.0, *(number for test in tests.values() for number in vars(test).values())]
    if min(numbers) < 0:
        raise ValueError(numbers)
    return file
