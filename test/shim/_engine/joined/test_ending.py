"""torch_testing_shim._engine.joined.ending: what is told of a rank. test_joined_run.py has the ends themselves."""

from __future__ import annotations

from dataclasses import replace

from torch_testing_shim._engine.joined.ending import Standing
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim.common_utils import TestCase, run_tests

SUBTEST = RankOutcome(3, RankStatus.FAILED, 1001.0, headline="AssertionError: no", subtest="(i=1)")
RAISED = RankOutcome(3, RankStatus.ERRORED, 1002.0, headline="KeyError: 'after'", subtests=(SUBTEST,))
PASSED = RankOutcome(3, RankStatus.PASSED, 1002.0, pid=7, exit_code=0, collectives="")


class StandingTest(TestCase):
    def test_times_count_from_the_moment_that_all_hosts_know(self) -> None:
        told = Standing(RAISED, leaves=True, is_gone=True)
        found = Standing.from_json(told.to_json(began=1000.0), began=50.0)
        self.assertEqual((True, True), (found.leaves, found.is_gone))
        self.assertEqual(replace(RAISED, ended_at=52.0, subtests=(replace(SUBTEST, ended_at=51.0),)), found.outcome)

    def test_what_ranks_have_in_common(self) -> None:
        other = replace(PASSED, rank=0, pid=9, ended_at=5.0, host="host1")
        self.assertEqual(Standing(PASSED).in_common, Standing(other).in_common)
        self.assertTrue(Standing(PASSED).in_common)
        for differing in (replace(PASSED, skipped_subtests=(("(i=1)", "no"),)), replace(PASSED, finished=True)):
            self.assertNotEqual(Standing(PASSED).in_common, Standing(differing).in_common)

    def test_one_that_others_have_to_hear_has_nothing_in_common(self) -> None:
        for told in (Standing(RAISED), Standing(PASSED, leaves=True), Standing(replace(PASSED, subtests=(SUBTEST,)))):
            self.assertEqual("", told.in_common)


if __name__ == "__main__":
    run_tests()
