"""Whether each test of the soak ended as it had to: by its status and reason, a pass with a body on every rank."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import sentinel

from conform.soak_faults import Fault, fault_of
from torch_testing_shim._shared.journal import JournalContents, JournalEntry


def wrong_verdicts(
    journal: JournalContents,
    tests: int,
    ranks: int,
    sentinels: Path,
    faults: Callable[[int], Fault | None] = fault_of,
) -> list[str]:
    """Mistakes in the verdicts, a line each.

    Args:
        journal: the run's.
        tests: how many tests it has to tell of.
        ranks: on how many ranks each ran.
        sentinels: the folder of what the bodies left at their end.
        faults: which test has which fault.
    """
    entries = {_number(entry.test): entry for entry in journal.entries}
    finished = sentinel.found(sentinels)
    problems = [] if journal.is_finished else ["the journal has no end"]
    problems += [f"test {number} has no verdict" for number in range(tests) if number not in entries]
    for number, entry in sorted(entries.items()):
        problems += _wrong_with(entry, number, faults(number))
        method = entry.test.rpartition(".")[2]
        ended = sum((method, rank) in finished for rank in range(ranks))
        if entry.status.is_pass and ended != ranks:
            problems.append(f"test {number} passed, and {ended} of {ranks} ranks came to its end")
    return problems


def _wrong_with(entry: JournalEntry, number: int, fault: Fault | None) -> Iterator[str]:
    name, status, reason = (fault.name, fault.status, fault.reason) if fault else ("no fault", "passed", r"\A\Z")
    if entry.status.value != status or not re.search(reason, entry.reason):
        yield f"test {number} ({name}): {entry.status.value}, {entry.reason!r} instead of {status}, {reason!r}"


def _number(test: str) -> int:
    return int(test.rpartition("_")[2])
