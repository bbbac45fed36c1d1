"""A large file in parts that run at the same time. Pure: names and times in, parts out.

Classes stay whole where they can, since what their tests share is set up once in each process. Every test is in exactly
one part, and the tests of a part are in the file's order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch_testing_shim._shared.node_ids import class_and_method

#: A part is to take at least so long, in seconds: a process costs a start, and a file that is read again.
PART_SECONDS = 20.0
#: A part of a file whose times are not known is to have at least so many tests.
PART_TESTS = 10


def part_count(file: str, files: Sequence[str], seconds: Mapping[str, float], jobs: int) -> int:
    """Into how many parts `file` is to be split; 1 for not at all.

    A file is split that would take longer than a job's share of the whole run, and one of unknown size where there are
    more jobs than files.

    Args:
        files: all files of the run.
        seconds: what they took before, as far as it is known.
        jobs: how many processes run at a time.
    """
    if file not in seconds:
        return max(1, jobs // max(1, len(files)))
    share = sum(seconds.get(name, 0.0) for name in files) / jobs
    return max(1, min(jobs, math.ceil(seconds[file] / max(share, PART_SECONDS))))


def split_tests(tests: Sequence[str], seconds: Mapping[str, float], count: int) -> tuple[tuple[str, ...], ...]:
    """The tests in `count` parts of about the same length, or in fewer where there are too few tests; never an empty
    part.

    Args:
        tests: "Class.test", in order; one that is planned twice counts once.
        seconds: what they took before; one that is not in it takes as long as the others on average.
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
    """What stays together: a class, or each test of a class that is larger than a part is to be."""
    classes: dict[str, list[str]] = {}
    for test in tests:
        classes.setdefault(class_and_method(test)[0], []).append(test)
    units = []
    for members in classes.values():
        is_too_large = sum(weights[test] for test in members) > largest
        units += [[test] for test in members] if is_too_large else [members]
    return units
