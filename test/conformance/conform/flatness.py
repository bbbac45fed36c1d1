"""Whether a process holds as much after many tests as after a few. Pure.

Flat means, from the 100th test on (or from the first third of a shorter run):

* **Descriptors, threads and children: the same number before every test.** They are counted between two tests, when
  nothing is in flight, so that a single one more is one that a test has left.
* **Memory (anonymous, PSS, private dirty): not more than 2 KiB a test.** A run remembers of each test its name, how it
  ended and, of a failure, the report, for the summary that it ends with; that is less. Whatever else is kept for each
  test, a traceback with its frames, a buffer, a page, is more. What grows is taken as the slope of a line through all
  measurements (Theil and Sen's: the median of the slopes between all pairs), since the allocator gives and takes
  pages by the hundred from one test to the next. In a short run, what it takes at once, 256 KiB, does not count.
* **Of a reused rank, anonymous memory alone.** Its PSS and private dirty memory grow for some hundred tests more, as it
  writes for the first time to pages that it shares with the zygote, which have been its own from the start.
* **The processes are the same ones**: a zygote that was replaced has had no time to grow.

The first tests do not count: they import what is imported lazily, and write for the first time to pages that the
zygote shares with the controller, which makes them private to each, up to the whole heap.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.holdings import Holdings

MEMORY_BYTES_A_TEST = 2048.0
_ALLOCATION_BYTES = 256 * 1024.0
_WARM_UP = 100
_MEMORY = ("anonymous", "pss", "private_dirty")
#: What grows by copies of pages, and the roles of which it is not judged.
_OF_COPIES, _COPYING = ("pss", "private_dirty"), "rank "
_COUNTS = ("descriptors", "threads", "children")


@dataclass(frozen=True)
class Growth:
    """How one number of one process went."""

    role: str  # whose it is
    what: str  # the number's name in `Holdings`
    first: int  # its value at the first measurement that counts
    last: int  # at the last one
    a_test: float  # how much it grows from test to test
    is_flat: bool  # it counts as flat


def warm_up(tests: int) -> int:
    """The number of the first test of a run whose measurement counts."""
    return min(_WARM_UP, tests // 3)


def growths(notes: Sequence[tuple[int, dict[str, Holdings]]], tests: int) -> list[Growth]:
    """How all numbers went.

    Args:
        notes: test numbers, each with the holdings by role.
        tests: how many tests the run had.

    Raises:
        ValueError: less than two measurements count.
    """
    counted = [(number, held) for number, held in notes if number >= warm_up(tests)]
    if len(counted) < 2:
        raise ValueError(f"{len(counted)} measurements do not show what grows")
    return [
        _growth(role, what, [(number, getattr(held[role], what)) for number, held in counted])
        for role in counted[0][1]
        for what in ("pid", *_MEMORY, *_COUNTS)
    ]


def _growth(role: str, what: str, points: Sequence[tuple[int, int]]) -> Growth:
    values = [value for _, value in points]
    a_test = statistics.median(
        (later - value) / (after - number) for (number, value), (after, later) in itertools.combinations(points, 2)
    )
    allowed = max(MEMORY_BYTES_A_TEST, _ALLOCATION_BYTES / (points[-1][0] - points[0][0]))
    is_exempt = what in _OF_COPIES and role.startswith(_COPYING)
    is_flat = is_exempt or (a_test <= allowed if what in _MEMORY else len(set(values)) == 1)
    return Growth(role, what, values[0], values[-1], a_test, is_flat)
