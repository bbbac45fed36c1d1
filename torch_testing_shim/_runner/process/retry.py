"""The processes that follow once a process of a file has ended. Pure.

    resume    a process died: the rest of its tests run in a new process, as long as each process gets on by a test
    retry     a test failed: it runs again, alone, in a new process, until it passes or the retries are used up
    discover  a process has told the names of the tests: the parts of a large file run

Silence never makes up for a failure: only a run in which the test itself passes, and nothing else fails, is a pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from torch_testing_shim._shared.exit_status import describe_exit
from torch_testing_shim._shared.journal import JournalContents, JournalEntry, TestStatus

from ..plan.selection import FileSelection
from ..result import FileEnding

#: The names under which shared fixtures fail; for such a failure, the tests that share the fixture run again.
CLASS_FIXTURES = frozenset({"setUpClass", "tearDownClass"})
MODULE_FIXTURES = frozenset({"setUpModule", "tearDownModule"})

#: A failed run of a test -> the most times that the test runs again.
Retries = Callable[[JournalEntry], int]


class RunKind(Enum):
    """The purpose of a process."""

    #: Run the tests of a file, or of a part of it, for the first time.
    FIRST = "first"
    #: Run the tests that another process was ordered to run before it died.
    RESUME = "resume"
    #: Run one test that has failed.
    RETRY = "retry"
    #: Tell the names of the tests, for the file to be split.
    DISCOVER = "discover"


@dataclass(frozen=True)
class RunOrder:
    """The order for one process of a file."""

    kind: RunKind  # its purpose
    selection: FileSelection  # the file and the tests that it runs
    number: int = 1  # 1-based repetition of the file (`--repeat`)
    part: int = 0  # 1-based part of the file; 0 where the file is not split
    parts: int = 0  # the number of parts; 0 where the file is not split
    test: str = ""  # the test that runs again; "" for other kinds
    attempt: int = 0  # 1-based retry of that test; 0 for other kinds
    seconds_used: float = 0.0  # the duration of the processes that this one resumes, in seconds

    @property
    def is_first(self) -> bool:
        """True where its tests have not run before."""
        return self.kind in (RunKind.FIRST, RunKind.RESUME)

    def __str__(self) -> str:
        """The part of the file that it runs, as people read it; "" for the whole file."""
        if self.kind is RunKind.RETRY:
            return f"{self.test} again"
        if self.kind is RunKind.DISCOVER:
            return "names of its tests"
        words = [f"run {self.number}"] if self.number > 1 else []
        words += [f"part {self.part} of {self.parts}"] if self.parts else []
        words += ["the rest"] if self.kind is RunKind.RESUME else []
        return ", ".join(words)


@dataclass(frozen=True)
class FinishedRun:
    """One process of a file that has ended."""

    order: RunOrder
    ending: FileEnding
    journal: JournalContents


def resume_after(run: FinishedRun) -> RunOrder | None:
    """Return the order for the tests that a process left when it died; None where it left none, was ended on purpose,
    or got on by no test, so that another process would come no further."""
    missing = never_started(run.journal)
    has_got_on = run.journal.entries or run.journal.unfinished
    is_on_purpose = run.ending.is_stopped or run.ending.seconds_allowed is not None
    if not run.order.is_first or run.journal.is_finished or is_on_purpose or not has_got_on or not missing:
        return None
    return replace(
        run.order,
        kind=RunKind.RESUME,
        selection=FileSelection(run.order.selection.name, tuple(dict.fromkeys(missing))),
        seconds_used=run.order.seconds_used + run.ending.seconds,
    )


def retries_after(run: FinishedRun, failed: Iterable[JournalEntry], retries: Retries) -> tuple[RunOrder, ...]:
    """Return the orders to run tests again after this process.

    Args:
        failed: the failed runs of this process (see `failed_runs`).
        retries: the most times that the test of such a run runs again.
    """
    order = run.order
    if run.ending.is_stopped:
        return ()
    again = [entry for entry in failed if order.attempt < retries(entry)]
    if order.kind is RunKind.RETRY:
        return tuple(replace(order, attempt=order.attempt + 1) for _ in again)
    if not order.is_first:
        return ()
    file = order.selection.name
    return tuple(
        RunOrder(RunKind.RETRY, FileSelection(file, what_to_run(entry.test)), order.number, test=entry.test, attempt=1)
        for entry in again
    )


def failed_runs(run: FinishedRun, judge: Callable[[JournalEntry], JournalEntry]) -> tuple[JournalEntry, ...]:
    """Return the runs of tests that failed, once judged, or never ended; a test that failed twice has two."""
    if run.order.kind is RunKind.RETRY:
        runs = [judge(rerun_entry(run))]
        return tuple(entry for entry in runs if not entry.status.is_pass)
    cut_short = (unfinished_entry(test, run.ending) for test in run.journal.unfinished)
    return tuple(entry for entry in map(judge, (*run.journal.entries, *cut_short)) if entry.status.is_failure)


def unfinished_entry(test: str, ending: FileEnding) -> JournalEntry:
    """The entry of a test that ran when its process ended."""
    return JournalEntry(test, TestStatus.ERROR, 0.0, f"{end_of(ending)} while this test ran", ending.output_tail)


def end_of(ending: FileEnding, whose: str = "the file's") -> str:
    """The end of a process as the beginning of a sentence."""
    if ending.seconds_allowed is not None:
        return f"{whose} limit of {ending.seconds_allowed:g} s was over"
    verb = "ended" if whose == "its" else f"{whose} process ended"
    return f"{verb} with {describe_exit(ending.exit_code)}"


def never_started(journal: JournalContents) -> tuple[str, ...]:
    """The planned tests without a start; a test may be planned several times."""
    seen = Counter((*(entry.test for entry in journal.entries), *journal.unfinished))
    missing = []
    for test in journal.planned:
        if seen[test] > 0:
            seen[test] -= 1
        else:
            missing.append(test)
    return tuple(missing)


def rerun_entry(run: FinishedRun) -> JournalEntry:
    """The result of running a test again, as one entry of that test."""
    test, journal, ending = run.order.test, run.journal, run.ending
    is_fixture = test.rpartition(".")[2] in CLASS_FIXTURES | MODULE_FIXTURES
    own = [entry for entry in journal.entries if entry.test == test or is_fixture]
    failed = [entry for entry in journal.entries if entry.status.is_failure]
    if failed:
        worst = next((entry for entry in failed if entry.test == test), failed[0])
        return replace(worst, test=test)
    how = describe_exit(ending.exit_code)
    if ending.seconds_allowed is not None:
        return _error(test, ending, f"ran again, and its limit of {ending.seconds_allowed:g} s was over")
    if journal.unfinished:
        return _error(test, ending, f"ran again, and its process ended with {how}")
    if not own:
        return _error(test, ending, f"was to run again, and its process ended with {how} without it")
    if ending.exit_code != 0 or not journal.is_finished or journal.broken_lines:
        return _error(test, ending, f"ran again, and its process ended with {how} after it")
    passed = [entry for entry in own if entry.status.is_pass]
    return replace((passed or own)[0], test=test)


def _error(test: str, ending: FileEnding, reason: str) -> JournalEntry:
    return JournalEntry(
        test, TestStatus.ERROR, ending.seconds, reason, ending.output_tail, started_at=ending.started_at
    )


def what_to_run(test: str) -> tuple[str, ...]:
    """The tests to run again for a failure with the name `test`; () for the whole file."""
    owner, _, name = test.rpartition(".")
    if name in MODULE_FIXTURES:
        return ()
    return (owner,) if name in CLASS_FIXTURES and owner else (test,)


def in_order(runs: Iterable[FinishedRun]) -> Sequence[FinishedRun]:
    """Sort runs by repetition, then by part, otherwise as they ended."""
    return sorted(runs, key=lambda run: (run.order.number, run.order.part))
