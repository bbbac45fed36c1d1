"""Sharding: which part of a selection one of N machines runs.

Files are dealt round robin in sorted order, so every machine computes the same plan from the same selection, whatever
order the selection was typed in, and the shards 1 to N cover everything exactly once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .selection import FileSelection

__all__ = ["Shard", "take_shard"]


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


def take_shard(selected: Iterable[FileSelection], shard: Shard) -> tuple[FileSelection, ...]:
    """The files that `shard` runs, sorted by name."""
    return tuple(sorted(selected)[shard.index - 1 :: shard.count])
