"""Sharding: the part of a selection that one of N machines runs. Pure.

Files are placed longest first, each on the shard with the least load; ties go by the file's name, then by the shard's
number. Files without a recorded time are then dealt out evenly, to the least loaded shards first. Every machine
computes the same plan from the same selection and the same times, whatever order the selection was typed in, and the
shards 1 to N cover everything exactly once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

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
        shard: which of them.
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
