"""What earlier runs tell of the files at hand. Everything works without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Expected"]


@dataclass(frozen=True)
class Expected:
    """What was recorded, by file name. A file that is not recorded is not in it.

    Attributes:
        seconds: what the file took, all of its processes together.
        tests: what each of its tests took, in seconds, by "Class.test".
        ranks: the most ranks that one of its tests had.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    tests: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)
