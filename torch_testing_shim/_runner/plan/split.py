"""Split a large file into parts that run at the same time. Pure: names and times in, parts out.

Classes stay whole where they can, since their fixtures are set up once in each process. Every test is in exactly one
part, and the tests of a part are in the file's order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch_testing_shim._shared.node_ids import class_and_method

#: The least length of a part, in seconds: each process costs a start, and reads the file again.
PART_SECONDS = 20.0
#: The least number of tests in a part of a file whose times are not known.
PART_TESTS = 10


def part_count(file: str, files: Sequence[str], seconds: Mapping[str, float], jobs: int) -> int:
    """Return the number of parts to split `file` into; 1 for a file that stays whole.

    A file is split where it would take longer than a job's share of the whole run. A file of unknown length is split
    where there are more jobs than files.

    Args:
        files: all files of the run.
        seconds: recorded durations of these, as far as they are known.
        jobs: how many processes run at a time.
    """
    if file not in seconds:
        return max(1, jobs // max(1, len(files)))
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
