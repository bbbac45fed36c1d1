"""The bars of a run's timeline."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.report.recorded_run import RecordedRun, RunFacts
from torch_testing_shim._runner.report.timeline import MOST_BARS, WIDTH, timeline_of
from torch_testing_shim._runner.result import FileEnding, FileResult, RunSummary
from torch_testing_shim._shared.journal import JournalEntry, RankRecord, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given
from report_samples import BEGIN, GOOD, sample_run


class TimelineTest(TestCase):
    def test_lanes_in_the_order_of_their_starts(self) -> None:
        timeline = timeline_of(sample_run())
        expected = ["distributed/test_state", "shim/test_crash", "shim/test_good", "shim/test_stopped"]
        self.assertEqual(expected, [lane.name for lane in timeline.lanes])
        self.assertEqual(["0 s", "2 s", "4 s", "6 s", "8 s", "10 s"], [tick.text for tick in timeline.ticks])
        kinds = [bar.kind for bar in timeline.lanes[0].bars]
        counts = [kinds.count(kind) for kind in ("file", "rank passed", "rank failed")]
        self.assertEqual([1, 4 + 2, 4], counts)
        self.assertEqual((2, 2), (kinds.count("flaky"), kinds.count("failed")))

    @given(st.lists(st.tuples(st.floats(0, 1e10), st.floats(0, 1e6)), max_size=5))
    def test_every_bar_lies_on_the_page_whatever_the_clock_did(self, times: list[tuple[float, float]]) -> None:
        entries = tuple(
            JournalEntry(
                f"A.{n}", TestStatus.PASSED, seconds, started_at=at, ranks=(RankRecord(0, "x", 1, at, seconds),)
            )
            for n, (at, seconds) in enumerate(times)
        )
        result = FileResult(FileEnding("test_x", 0, 5.0, started_at=BEGIN), entries)
        for lane in timeline_of(RecordedRun(RunFacts(BEGIN, 5.0, 0), RunSummary((result,)))).lanes:
            for bar in lane.bars:
                self.assertTrue(bar.left >= 0 and bar.left + bar.width <= WIDTH + 0.02, bar)
                self.assertLessEqual(bar.top + bar.height, lane.height)

    def test_too_many_bars_are_left_out_and_a_line_says_so(self) -> None:
        def timeline(tests: int, ranks: int) -> tuple[int, str]:
            records = tuple(RankRecord(rank, "passed", 1, BEGIN, 1.0) for rank in range(ranks))
            entries = tuple(
                JournalEntry(f"A.{n}", TestStatus.PASSED, 1.0, "", "", BEGIN, records) for n in range(tests)
            )
            result = FileResult(FileEnding("test_x", 0, 5.0, started_at=BEGIN), entries)
            drawn = timeline_of(RecordedRun(RunFacts(BEGIN, 5.0, 0), RunSummary((result,))))
            return len(drawn.lanes[0].bars), drawn.left_out

        self.assertEqual((11, ""), timeline(2, 4))
        self.assertEqual((MOST_BARS + 1, "ranks are left out, there are too many"), timeline(MOST_BARS, 1))
        self.assertEqual((1, "only files are drawn"), timeline(MOST_BARS + 1, 0))

    def test_a_run_of_nothing(self) -> None:
        self.assertEqual((), timeline_of(RecordedRun(RunFacts(BEGIN, 0.0, 5), RunSummary())).lanes)
        self.assertEqual(1, len(timeline_of(RecordedRun(RunFacts(0.0, 0.0, 0), RunSummary((GOOD,)))).lanes))


if __name__ == "__main__":
    run_tests()
