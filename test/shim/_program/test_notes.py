"""The journal's records of ranks: what the engine saw, in the journal's terms."""

from __future__ import annotations

import time
import unittest

from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim._program.notes import RANK_OUTPUT, TEST_OUTPUT, rank_records, records_of
from torch_testing_shim.common_utils import TestCase, run_tests


class RankRecordsTest(TestCase):
    def test_times_are_those_of_the_calendar(self) -> None:
        began = time.monotonic()
        outcome = RankOutcome(0, RankStatus.PASSED, began + 1.5, pid=7, exit_code=0)
        (record,) = rank_records([outcome], [began])
        self.assertLess(abs(record.started_at - time.time()), 60.0)
        self.assertEqual((1.5, 7, 0, "passed"), (record.seconds, record.pid, record.exit_code, record.status))

    def test_a_rank_whose_end_nobody_saw_took_no_time_rather_than_less(self) -> None:
        (record,) = rank_records([RankOutcome(0, RankStatus.DIED)], [time.monotonic()])
        self.assertEqual(0.0, record.seconds)

    def test_output_is_kept_where_it_helps_and_only_its_end(self) -> None:
        long = "x" * RANK_OUTPUT + "the end"
        outcomes = [RankOutcome(0, RankStatus.PASSED, output=long), RankOutcome(1, RankStatus.DIED, output=long)]
        passed, died = rank_records(outcomes, [0.0, 0.0])
        self.assertEqual(("", RANK_OUTPUT), (passed.output, len(died.output)))
        self.assertTrue(died.output.endswith("the end"))

    def test_many_ranks_share_the_room(self) -> None:
        outcomes = [RankOutcome(rank, RankStatus.HUNG, output="x" * RANK_OUTPUT) for rank in range(256)]
        records = rank_records(outcomes, [0.0] * 256)
        self.assertEqual(TEST_OUTPUT, sum(len(record.output) for record in records))

    def test_the_headline_is_the_exception_or_the_reason_of_the_skip(self) -> None:
        failed = RankOutcome(0, RankStatus.FAILED, headline="AssertionError: 1 != 2")
        skipped = RankOutcome(1, RankStatus.SKIPPED, skip_reason="needs 2 gpus")
        records = rank_records([failed, skipped], [0.0, 0.0])
        self.assertEqual(["AssertionError: 1 != 2", "needs 2 gpus"], [record.headline for record in records])

    def test_a_test_without_ranks_has_none(self) -> None:
        self.assertEqual((), records_of(unittest.FunctionTestCase(lambda: None)))
        self.assertEqual((), records_of(None))


if __name__ == "__main__":
    run_tests()
