"""One file from its first process to its result: it orders the processes that follow, and starts none itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch_testing_shim._shared.journal import JournalEntry

from ..cli.options import Options
from ..expectations.judgement import Judge
from ..plan.selection import FileSelection
from ..plan.sharding import split_tests
from ..result import FileResult
from .fold import fold_runs
from .retry import FinishedRun, RunKind, RunOrder, failed_runs, resume_after, retries_after


class FileLife:
    """The life of a file.

    Args:
        parts: the number of parts that it runs in; 1 for a file that stays whole.
        seconds: recorded durations of its tests, by "Class.test".
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
        self.has_started = False  # one of its processes has started
        self.result: FileResult | None = None  # the file's result, judged; None before it has ended
        self._options = options
        self._parts = parts
        self._seconds = seconds or {}
        self._judge = judge or Judge()
        self._runs: list[FinishedRun] = []
        self._number = 0  # repetitions that have begun
        self._left = 0  # processes that run or wait
        self._is_cut_short = False

    def begin(self) -> list[RunOrder]:
        """Return the orders to run it once."""
        self._number += 1
        self._left += 1
        if self._parts > 1:
            return [RunOrder(RunKind.DISCOVER, self.selection, self._number, parts=self._parts)]
        return [RunOrder(RunKind.FIRST, self.selection, self._number)]

    @property
    def is_waiting(self) -> bool:
        """Its latest repetition has begun, and none of its processes has ended."""
        return not any(run.order.number == self._number for run in self._runs)

    def drop(self, order: RunOrder) -> None:
        """Take back an order that will not be carried out."""
        self._left -= 1
        if order.is_first or order.kind is RunKind.DISCOVER:
            self._is_cut_short = True

    def take(self, run: FinishedRun) -> list[RunOrder]:
        """Take a process that has ended; return the orders that follow from it."""
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
        """True where none of its processes runs or waits."""
        return self._left == 0

    @property
    def is_to_repeat(self) -> bool:
        """True where it runs once more after this repetition."""
        if self._is_cut_short or (self._options.repeat and self._number >= self._options.repeat):
            return False
        last = [run for run in self._runs if run.order.number == self._number]
        return not (self._options.until_failure and self._judge.result(self._fold(last)).failed)

    def end(self) -> FileResult | None:
        """Return its result before any judgement; None where none of its processes has run tests."""
        self.result = self._fold(self._runs) if self._runs else None
        return self.result

    def _again(self, run: FinishedRun) -> Sequence[RunOrder]:
        """The orders for the tests of a process that run again."""
        device = run.journal.device

        def judge(entry: JournalEntry) -> JournalEntry:
            return self._judge.entry(entry, device)

        def retries(entry: JournalEntry) -> int:
            return self._judge.retries(entry, device, self._options.retries)

        return retries_after(run, failed_runs(run, judge), retries)

    def _fold(self, runs: Sequence[FinishedRun]) -> FileResult:
        return fold_runs(runs, flaky_fails=self._options.fail_on_flaky)

    def _split(self, run: FinishedRun) -> list[RunOrder]:
        """The orders for the parts of the file; one for the whole file where the names of its tests are not known."""
        has_told = run.journal.is_finished and run.ending.exit_code == 0
        parts = split_tests(run.journal.planned, self._seconds, self._parts) if has_told else ()
        whole = replace(run.order, kind=RunKind.FIRST, parts=0)
        if len(parts) < 2:
            return [whole]
        return [
            replace(whole, selection=FileSelection(whole.selection.name, tests), part=number, parts=len(parts))
            for number, tests in enumerate(parts, start=1)
        ]
