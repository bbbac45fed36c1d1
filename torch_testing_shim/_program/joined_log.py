"""The log of a joined run: tests start and end together with those of the other processes."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from torch_testing_shim._engine.controller import RankFailure
from torch_testing_shim._engine.joined.bounded_store import StoreLostError
from torch_testing_shim._engine.joined.coming import come
from torch_testing_shim._engine.joined.ending import Patience, Standing, end_run
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim._program.log import BY_GRAVITY, TestLog, headline
from torch_testing_shim._program.notes import rank_records
from torch_testing_shim._shared.journal import Journal, JournalContents, JournalEntry, TestStatus
from torch_testing_shim._shared.journal_reading import read_journal
from torch_testing_shim._shared.settings import read_settings

if TYPE_CHECKING:
    from torch_testing_shim._program.joined_run import JoinedRun

__unittest = True  # unittest and pytest leave the frames of this module out of a report


class JoinedLog(TestLog):
    """The log of a joined run: tests start and end together with those of the other processes.

    Attributes:
        has_folded: a test that has not failed here has failed on another rank.
    """

    def __init__(self, run: JoinedRun, journal: Journal | None) -> None:
        super().__init__(journal)
        self.has_folded = False
        self._run = run
        self._world = run.world
        self._world.tell = self._tell

    def plan(self, names: Sequence[str], device: str = "", left_out: int = 0) -> None:
        """Record also what ran before a restart, as far as the journal here does not have it."""
        before = self._run.ran.before
        there = read_journal(self._journal.path) if before and self._journal is not None else JournalContents()
        if there.planned:
            self.planned.extend(names)
        else:
            super().plan(names, device, left_out)
        self.entries.extend(before)
        known = Counter(entry.test for entry in there.entries)
        for entry in before:
            if known[entry.test]:
                known[entry.test] -= 1
            else:
                self._write(lambda journal, entry=entry: journal.end(entry))  # type: ignore[misc]

    def left(self, names: Sequence[str]) -> Sequence[str]:
        return self._run.ran.left(names)

    def start(self, name: str) -> None:
        self._world.begin(name, read_settings().timeout_seconds)
        super().start(name)
        if self._world.rank == 0:
            self._run.ran.start(self._world.current.key)

    def end(self, entry: JournalEntry) -> None:
        test = self._world.test
        is_of_test = test is not None and test.name == entry.test
        if is_of_test:
            entry = self._agreed(entry)
        super().end(entry)
        if self._world.rank == 0:
            self._run.ran.end(test.key if test is not None and is_of_test else None, entry)

    def _agreed(self, entry: JournalEntry) -> JournalEntry:
        """Return the entry over all processes. A rank's test may have failed in its tear-down, or may not have
        begun."""
        world, test, seconds = self._world, self._world.current, read_settings().timeout_seconds
        come(world, test, f"{entry.status.value}: {entry.reason}" if entry.reason else entry.status.value)
        with world.awaiting(seconds):
            with suppress(StoreLostError):
                said = json.dumps([entry.status.value, entry.reason])
                world.exchange.answer(f"{test.key}/ended", said, world.size, common=said)
            if not world.exchange.wait(f"{test.key}/ended", Patience(world, test, world.exchange, is_brief=True).until):
                own = RankOutcome(world.rank, RankStatus.STOPPED, time.monotonic())
                end_run(world, test, world.exchange, Standing(own, leaves=True), in_body=False)
            answers = world.exchange.answers(f"{test.key}/ended", world.everyone)
        world.end(seconds)
        told = {rank: json.loads(text) for rank, text in answers.items()}
        return self._fold(entry, {rank: (TestStatus(status), reason) for rank, (status, reason) in told.items()})

    def _fold(self, entry: JournalEntry, told: Mapping[int, tuple[TestStatus, str]]) -> JournalEntry:
        if {status for status, _ in told.values()} == {entry.status}:
            return entry
        rank = min(told, key=lambda rank: BY_GRAVITY.index(told[rank][0]))
        status, reason = told[rank]
        who = f"rank {rank} ({self._world.members[rank].host})"
        line = f"{who}: {status.value}: {reason}" if status.is_failure else f"ranks disagree: {who}: {status.value}"
        found = replace(entry, status=status if status.is_failure else TestStatus.ERROR, reason=line)
        self.has_folded = self.has_folded or not entry.status.is_failure
        if not entry.status.is_failure and self._world.rank == 0:
            print(f"\nERROR: {entry.test}\n{line}", file=sys.stderr)
        return replace(found, detail=entry.detail or line)

    def _tell(self, error: BaseException, outcomes: Sequence[RankOutcome]) -> None:
        """Report the test that has ended the run, and the tests that do not run after it."""
        self._run.voice.speak()
        test = self._world.current
        status = TestStatus.FAILED if isinstance(error, RankFailure) else TestStatus.ERROR
        seconds, records = time.time() - test.started_at, rank_records(outcomes, [test.began] * len(outcomes))
        entry = JournalEntry(test.name, status, seconds, headline(error), str(error), test.started_at, records)
        super().end(entry)
        self._run.ran.end(test.key, entry)
        print(f"\n{'=' * 70}\n{status.name}: {test.name}\n{'-' * 70}\n{error}\n", file=sys.stderr)
        if self.never_ended:
            print(f"these tests were to run and did not: {', '.join(self.never_ended)}", file=sys.stderr)
        print(f"FAILED: {self.summary()}; torchrun's processes could not go on", file=sys.stderr, flush=True)
