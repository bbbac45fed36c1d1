"""Divide work by recorded durations: files among N machines, and the tests of a large file among processes. Pure.

Both place the longest first, each where the load is least.

Shards: ties go by the file's name, then by the shard's number. Files without a recorded time are then dealt out evenly,
to the least loaded shards first. Every machine computes the same plan from the same selection and the same times,
whatever order the selection was typed in, and the shards 1 to N cover everything exactly once.

Parts of a file: classes stay whole where they can, since their fixtures are set up once in each process. Every test is
in exactly one part, and the tests of a part are in the file's order.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from torch_testing_shim._shared.node_ids import class_and_method

from .selection import FileSelection

NO_TIMES: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True)
class Shard:
    """The `index`-th of `count` shards; the index starts at 1, as upstream's `--shard I N`.

    Raises:
        ValueError: the index does not lie between 1 and the count.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ValueError(f"shard {self.index} of {self.count}: the first number must lie between 1 and the second")


def take_shard(
    selected: Iterable[FileSelection], shard: Shard, seconds: Mapping[str, float] = NO_TIMES
) -> tuple[FileSelection, ...]:
    """The files that `shard` runs, sorted by name.

    Args:
        selected: the files of all shards together.
        seconds: files' names -> the seconds that they are expected to take (see `Times.expected`).
    """
    return plan_shards(selected, shard.count, seconds)[shard.index - 1]


def plan_shards(
    selected: Iterable[FileSelection], count: int, seconds: Mapping[str, float] = NO_TIMES
) -> tuple[tuple[FileSelection, ...], ...]:
    """The files of each of `count` shards, sorted by name."""
    files = sorted(selected)
    known = sorted((file for file in files if file.name in seconds), key=lambda file: -seconds[file.name])  # stable
    shards: list[list[FileSelection]] = [[] for _ in range(count)]
    by_load = [(0.0, number) for number in range(count)]  # sorted, so a heap
    for file in known:
        load, number = by_load[0]
        shards[number].append(file)
        heapq.heapreplace(by_load, (load + seconds[file.name], number))
    least_loaded_first = [number for _, number in sorted(by_load)]
    for place, file in enumerate(file for file in files if file.name not in seconds):
        shards[least_loaded_first[place % count]].append(file)
    return tuple(tuple(sorted(files_of_one)) for files_of_one in shards)


#: The least length of a part, in seconds: each process costs a start, and reads the file again.
PART_SECONDS = 20.0
#: The least number of tests in a part of a file whose times are not known.
PART_TESTS = 10


def part_count(file: str, files: Sequence[str], seconds: Mapping[str, float], jobs: int) -> int:
    """Return the number of parts to split `file` into; 1 for a file that stays whole.

    A file is split where it would take longer than a job's share of the whole run. A file of unknown length is split
    where there are more jobs than files.

    Args:
        files: all files of the run, `file` among them.
        seconds: recorded durations of these, as far as they are known.
        jobs: how many processes run at a time.
    """
    if file not in seconds:
        return max(1, jobs // len(files))
    share = sum(seconds.get(name, 0.0) for name in files) / jobs
    return max(1, min(jobs, math.ceil(seconds[file] / max(share, PART_SECONDS))))


def split_tests(tests: Sequence[str], seconds: Mapping[str, float], count: int) -> tuple[tuple[str, ...], ...]:
    """Return the tests in `count` parts of about the same length, or in fewer where there are too few tests; no part is
    empty.

    Args:
        tests: "Class.test", in order; a test that is planned twice counts once.
        seconds: recorded durations; a test without one counts as the mean of the others.
    """
    tests = tuple(dict.fromkeys(tests))
    known = [seconds[test] for test in tests if test in seconds]
    if not known:
        count = min(count, len(tests) // PART_TESTS)
    usual = sum(known) / len(known) if known else 1.0
    weights = {test: seconds.get(test, usual) for test in tests}
    parts: list[list[str]] = [[] for _ in range(max(1, count))]
    loads = [0.0] * len(parts)
    units = _units(tests, weights, sum(weights.values()) / len(parts))
    for unit in sorted(units, key=lambda unit: -sum(weights[test] for test in unit)):  # stable: ties in file order
        least = loads.index(min(loads))
        parts[least] += unit
        loads[least] += sum(weights[test] for test in unit)
    order = {test: number for number, test in enumerate(tests)}
    return tuple(tuple(sorted(part, key=order.__getitem__)) for part in parts if part)


def _units(tests: Sequence[str], weights: Mapping[str, float], largest: float) -> list[list[str]]:
    """The units that stay together: a class, or each test of a class that is larger than a part."""
    classes: dict[str, list[str]] = {}
    for test in tests:
        classes.setdefault(class_and_method(test)[0], []).append(test)
    units = []
    for members in classes.values():
        is_too_large = sum(weights[test] for test in members) > largest
        units += [[test] for test in members] if is_too_large else [members]
    return units
