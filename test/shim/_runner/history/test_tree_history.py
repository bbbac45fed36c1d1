"""What a tree remembers of earlier runs, and how a run brings it up to date."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch_testing_shim._runner.history.recorded_durations import Expected
from torch_testing_shim._runner.history.tree_history import History
from torch_testing_shim._runner.plan.selection import FileSelection
from torch_testing_shim._runner.result import FileEnding, FileResult, RunSummary
from torch_testing_shim._shared.journal import JournalEntry, RankRecord, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

X = FileSelection("x")
TWO_RANKS = tuple(RankRecord(rank, "passed") for rank in range(2))


def ran(**statuses: TestStatus) -> RunSummary:
    """A run of the file x, 4 s long, each of whose tests took 1.5 s on two ranks; `A_a` stands for `A.a`."""
    entries = [
        JournalEntry(name.replace("_", "."), status, 1.5, "why", started_at=101.0, ranks=TWO_RANKS)
        for name, status in statuses.items()
    ]
    return RunSummary((FileResult(FileEnding("x", 0, seconds=4.0, started_at=100.0), tuple(entries)),))


class HistoryTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.reports = Path(folder.name) / "test" / "test-reports"
        self.times_path = self.reports / "times.json"

    def read(self, *, needs_times: bool = True) -> History:
        history, notes = History.read(self.reports, self.times_path, needs_times=needs_times)
        self.assertEqual([], notes)
        return history

    def test_a_fresh_tree_remembers_nothing(self) -> None:
        history = self.read()
        self.assertEqual(((), Expected()), (history.failed.lines, history.expected([X])))

    def test_what_a_run_has_shown_is_there_for_the_next(self) -> None:
        self.assertEqual([], self.read().take(ran(A_a=TestStatus.PASSED, A_b=TestStatus.FAILED), {"x"}))
        history = self.read()
        self.assertEqual(("x::A.b",), history.failed.lines)
        expected = Expected({"x": 4.0}, {"x": {"A.a": 1.5, "A.b": 1.5}}, {"x": 2})
        self.assertEqual(expected, history.expected([X, FileSelection("unknown")]))
        self.assertEqual({"x": 1.5}, history.expected([FileSelection("x", ("A.a",))]).seconds)
        self.assertEqual([], history.take(ran(A_b=TestStatus.PASSED), set()))
        self.assertEqual((), self.read().failed.lines)

    def test_times_are_read_only_where_they_are_needed(self) -> None:
        self.times_path.parent.mkdir(parents=True)
        self.times_path.write_text("{damaged")
        self.assertEqual(Expected(), self.read(needs_times=False).expected([X]))
        _, notes = History.read(self.reports, self.times_path, needs_times=True)
        self.assertEqual([f"the times file {str(self.times_path)!r} counts as empty: it is not JSON"], notes)

    def test_what_cannot_be_written_is_told_and_the_rest_is_written(self) -> None:
        (self.reports / "last-failed.json").mkdir(parents=True)
        history, _ = History.read(self.reports, self.times_path, needs_times=True)
        (problem,) = history.take(ran(A_a=TestStatus.FAILED), {"x"})
        self.assertIn("cannot record what failed in ", problem)
        self.assertEqual({"x": 4.0}, self.read().expected([X]).seconds)


if __name__ == "__main__":
    run_tests()
