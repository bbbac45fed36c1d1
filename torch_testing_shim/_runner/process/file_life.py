"""One file from its first process to its result: which of its processes are still to come. It starts none itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch_testing_shim._shared.journal import JournalEntry

from ..cli.options import Options
from ..expectations.judgement import Judge
from ..plan.selection import FileSelection
from ..plan.split import split_tests
from ..result import FileResult
from .fold import fold_runs
from .retry import FinishedRun, RunKind, RunOrder, failed_runs, resume_after, retries_after


class FileLife:
    """What has become of a file so far.

    Args:
        selection: what of it runs.
        options: how often it runs, and how often its tests run again.
        parts: in how many parts it runs; 1 for as a whole.
        seconds: what its tests took before, by "Class.test".
        judge: what its tests' results count as.

    Attributes:
        has_started: one of its processes has.
        result: what it came to; None before.
    """

    def __init__(
        self,
        selection: FileSelection,
        options: Options,
        parts: int = 1,
        seconds: Mapping[str, float] | None = None,
        judge: Judge | None = None,
    ) -> None:
        self.selection = selection
        self.has_started = False
        self.result: FileResult | None = None
        self._options = options
        self._parts = parts
        self._seconds = seconds or {}
        self._judge = judge or Judge()
        self._runs: list[FinishedRun] = []
        self._number = 0  # how many times it has begun
        self._left = 0  # how many of its processes run or wait
        self._is_cut_short = False

    def begin(self) -> list[RunOrder]:
        """The orders to run it once."""
        self._number += 1
        self._left += 1
        if self._parts > 1:
            return [RunOrder(RunKind.DISCOVER, self.selection, self._number, parts=self._parts)]
        return [RunOrder(RunKind.FIRST, self.selection, self._number)]

    @property
    def is_waiting(self) -> bool:
        """It has been begun again and nothing of that has started."""
        return not any(run.order.number == self._number for run in self._runs)

    def drop(self, order: RunOrder) -> None:
        """The order will not be carried out."""
        self._left -= 1
        if order.is_first or order.kind is RunKind.DISCOVER:
            self._is_cut_short = True

    def take(self, run: FinishedRun) -> list[RunOrder]:
        """Takes a process that has ended; the orders that follow from it."""
        if run.order.kind is RunKind.DISCOVER:
            orders = self._split(run)
        else:
            self._runs.append(run)
            rest = resume_after(run)
            orders = [*([rest] if rest else []), *self._again(run)]
        self._left += len(orders) - 1
        return orders

    @property
    def is_between(self) -> bool:
        """None of its processes runs or waits."""
        return self._left == 0

    @property
    def is_to_repeat(self) -> bool:
        """It has run once, and is to run once more."""
        if self._is_cut_short or (self._options.repeat and self._number >= self._options.repeat):
            return False
        last = [run for run in self._runs if run.order.number == self._number]
        return not (self._options.until_failure and self._judge.result(self._fold(last)).failed)

    def end(self) -> FileResult | None:
        """What it came to, before any judgement; None where none of its tests was to run yet."""
        self.result = self._fold(self._runs) if self._runs else None
        return self.result

    def _again(self, run: FinishedRun) -> Sequence[RunOrder]:
        """The tests of a process that run again."""
        device = run.journal.device

        def judge(entry: JournalEntry) -> JournalEntry:
            return self._judge.entry(entry, device)

        def retries(entry: JournalEntry) -> int:
            return self._judge.retries(entry, device, self._options.retries)

        return retries_after(run, failed_runs(run, judge), retries)

    def _fold(self, runs: Sequence[FinishedRun]) -> FileResult:
        return fold_runs(runs, flaky_fails=self._options.fail_on_flaky)

    def _split(self, run: FinishedRun) -> list[RunOrder]:
        """The parts of the file; the whole where it did not tell the names of its tests, which is not to matter."""
        has_told = run.journal.is_finished and run.ending.exit_code == 0
        parts = split_tests(run.journal.planned, self._seconds, self._parts) if has_told else ()
        whole = replace(run.order, kind=RunKind.FIRST, parts=0)
        if len(parts) < 2:
            return [whole]
        return [
            replace(whole, selection=FileSelection(whole.selection.name, tests), part=number, parts=len(parts))
            for number, tests in enumerate(parts, start=1)
        ]
