"""The record of what a launch has run, in torchrun's store, which outlives a restart (`--max-restarts`).

Rank 0 writes when a test starts and how it ended, over all ranks; where it is gone, the rank that reports in its place.
After a restart rank 0 reads it and tells the others in the first agreement. A test that had started and has no end
cost the crash: it does not run again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress

from torch_testing_shim._engine.joined.bounded_store import BoundedStore, StoreLostError
from torch_testing_shim._engine.joined.world import key_of
from torch_testing_shim._shared.journal import JournalEntry, TestStatus, record_of_end
from torch_testing_shim._shared.journal_reading import entry_of_end

#: The key that says that there are others.
_SOME = "some"
#: The reason of an entry that no rank could write.
_CUT_SHORT = "torchrun restarted its processes while this test ran, and none of them could tell why"


class RanBefore:
    """The tests of a launch that have run, by name and by how often they ran.

    Args:
        store: in the part that stays when the launcher restarts its processes.
    """

    def __init__(self, store: BoundedStore) -> None:
        self._store = store
        self._has_written = False
        self.before: list[JournalEntry] = []  # what ran before a restart; in other ranks than 0, without details
        self._counts: Counter[str] | None = None
        self._beside = 0  # entries that are of no test: a class's tear-down

    def start(self, test: str) -> None:
        """Write that a test starts; `test` is the key of its run (`key_of`)."""
        if not self._has_written:
            self._has_written = True
            self._set(_SOME, JournalEntry("", TestStatus.PASSED, 0.0))
        self._set(test, JournalEntry("", TestStatus.ERROR, 0.0, _CUT_SHORT))

    def end(self, test: str | None, entry: JournalEntry) -> None:
        """Write how a test ended; None for an entry that is of no test."""
        if test is None:
            self._beside += 1
        self._set(test or f"beside/{self._beside}", entry)

    def _set(self, key: str, entry: JournalEntry) -> None:
        with suppress(StoreLostError):  # which ends the run
            self._store.set(f"ran/{key}", json.dumps(record_of_end(entry)))

    def read(self, names: Iterable[str]) -> list[list[str]]:
        """In rank 0: reads what ran before a restart, of these tests. Return it for the other ranks."""
        for name in dict.fromkeys(names if self._get(_SOME) is not None else ()):
            number = 1
            while (entry := self._get(key_of(name, number))) is not None:
                self.before.append(entry if entry.test else JournalEntry(name, entry.status, 0.0, entry.reason))
                number += 1
        while (entry := self._get(f"beside/{self._beside + 1}")) is not None:
            self.before.append(entry)
            self._beside += 1
        return [[entry.test, entry.status.value] for entry in self.before]

    def take(self, told: Iterable[Sequence[str]]) -> None:
        """In the other ranks: takes what rank 0 has read."""
        if not self.before:
            self.before = [JournalEntry(name, TestStatus(status), 0.0) for name, status in told]

    def left(self, names: Sequence[str]) -> list[str]:
        """Return the tests that are left of one repetition; each call is for the next one."""
        if self._counts is None:
            self._counts = Counter(entry.test for entry in self.before)
        left = [name for name in names if not self._counts[name]]
        self._counts.subtract(name for name in set(names) if self._counts[name])
        return left

    def _get(self, key: str) -> JournalEntry | None:
        key = f"ran/{key}"
        return entry_of_end(json.loads(self._store.get([key])[0])) if self._store.has(key) else None
