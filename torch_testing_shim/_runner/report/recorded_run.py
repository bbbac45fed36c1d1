"""A run as written reports have it: its result, place and time, and a row for each test. Pure."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass

from torch_testing_shim._shared.cores import core_count
from torch_testing_shim._shared.journal import JournalEntry, RankRecord, TestStatus

from ..result import FLAKY, FileResult, RunSummary


@dataclass(frozen=True)
class RunFacts:
    """Place and time of a run."""

    started_at: float  # its start, in seconds since the epoch
    seconds: float  # its wall time
    exit_status: int  # the exit status of run_test.py
    command: str = ""  # the command line, as a shell takes it
    machine: str = ""  # the machine in a few words
    shard: tuple[int, int] | None = None  # (index, count) of the shard, or None where the run was no shard


@dataclass(frozen=True)
class RecordedRun:
    """One run: its place and time, and its result. Where runs of several machines are merged, it has the name of the
    group of shards that it belongs to."""

    facts: RunFacts
    summary: RunSummary
    group: str = ""

    @property
    def name(self) -> str:
        """The name of the run among others: "python3.11, shard 1 of 4"; "" where it is the only one."""
        shard = f"shard {self.facts.shard[0]} of {self.facts.shard[1]}" if self.facts.shard else ""
        return ", ".join(part for part in (self.group, shard) if part)


def describe_machine() -> str:
    """This machine: "Python 3.11.7, Linux x86_64, 2 cores"."""
    cores = core_count()
    python = f"Python {platform.python_version()}"
    return f"{python}, {platform.system()} {platform.machine()}, {cores} {'core' if cores == 1 else 'cores'}"


INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class TestRow:
    """One test of a file, or the file itself."""

    __test__ = False  # not a test class, whatever pytest makes of its name

    file: str  # the file's name
    #: Its result, in one or two words: a status of the journal, "flaky", "interrupted", or a finding of the runner
    #: ("crashed", "did not run").
    label: str
    entry: JournalEntry  # its first run, or an entry made of the runner's finding; `test` is "" for the file itself
    reruns: tuple[JournalEntry, ...] = ()  # its later runs, in their order
    is_failure: bool = False  # the run is not green because of it

    @property
    def test(self) -> str:
        return self.entry.test

    @property
    def where(self) -> str:
        """`file::Class.test`, or the file's name."""
        return f"{self.file}::{self.test}" if self.test else self.file

    @property
    def is_flaky(self) -> bool:
        """It failed, and passed when it was run again."""
        return self.label == FLAKY

    @property
    def is_skip(self) -> bool:
        return self.entry.status.is_skip

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes attached to its runs, reported whatever its status: shared devices, leftovers."""
        return tuple(dict.fromkeys(note for run in (self.entry, *self.reruns) for note in run.notes))

    @property
    def ranks(self) -> tuple[RankRecord, ...]:
        """The ranks of its first run."""
        return self.entry.ranks


def rows_of(result: FileResult) -> tuple[TestRow, ...]:
    """Return a file's tests in the order in which they ended, then the runner's findings, then interrupted tests.

    A test that was run again has one row; a test that the file itself repeats has one for each run.
    """
    again: dict[str, list[JournalEntry]] = {}
    for rerun in result.reruns:
        again.setdefault(rerun.test, []).append(rerun)
    flaky = {failure.test for failure in result.flaky}

    def row(label: str, entry: JournalEntry) -> TestRow:
        if not entry.status.is_failure:
            return TestRow(result.file, label, entry)
        is_flaky = entry.test in flaky
        is_failure = result.flaky_fails or not is_flaky
        reruns = tuple(again.pop(entry.test, ()))
        return TestRow(result.file, FLAKY if is_flaky else label, entry, reruns, is_failure)

    rows = [row(entry.status.value, entry) for entry in result.entries]
    for fault in result.faults:
        rows.append(row(fault.label, JournalEntry(fault.test, TestStatus.ERROR, 0.0, fault.reason, fault.detail)))
    return (*rows, *(TestRow(result.file, INTERRUPTED, entry, is_failure=True) for entry in result.interrupted))


def grouped(pairs: Iterable[tuple[str, TestRow]]) -> list[tuple[str, list[TestRow]]]:
    """Return texts and the tests that have them, commonest first; a test counts once, however often it ran."""
    found: dict[str, dict[str, TestRow]] = {}
    for text, row in pairs:
        found.setdefault(text, {})[row.where] = row
    return sorted(((text, [*rows.values()]) for text, rows in found.items()), key=lambda group: -len(group[1]))


def noted_rows(rows: Iterable[TestRow]) -> list[tuple[str, list[TestRow]]]:
    """Return notes and the tests that have them, as `grouped`."""
    return grouped((note, row) for row in rows for note in row.notes)
