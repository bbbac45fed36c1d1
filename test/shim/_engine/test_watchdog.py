"""Supervision of real ranks, and words that their ends contradict; `test_fault_catalogue` has deaths and hangs.

The ranks' code is this file's `Ranks`, started by the engine.
"""

import os
import sys
import time

from torch_testing_shim._engine.channel import THIS_RANK
from torch_testing_shim._engine.job import RankJob, make_scratch_folder, remove_scratch_folder
from torch_testing_shim._engine.launcher import RankStarter
from torch_testing_shim._engine.outcome import RankStatus
from torch_testing_shim._engine.rank_outcomes import outcome_of_exception, pass_outcome
from torch_testing_shim._engine.verdict import ExitExpectation
from torch_testing_shim._engine.watchdog import supervise
from torch_testing_shim.common_utils import TestCase, run_tests

FOREVER = 3600


class Ranks:
    """The work of ranks, by method name. Each gets its rank and its channel."""

    @classmethod
    def _run(cls, rank, method, file_name, pipe, **kwargs):
        getattr(cls, method)(rank, THIS_RANK.channel)

    def passes(rank, channel):
        channel.send(pass_outcome(rank))

    def one_dies_and_the_others_go_on(rank, channel):
        if rank == 1:
            os._exit(5)
        time.sleep(2.5)
        channel.send(pass_outcome(rank))

    def passes_and_does_not_end(rank, channel):
        channel.send(pass_outcome(rank))
        time.sleep(FOREVER)

    def passes_and_exits_3(rank, channel):
        channel.send(pass_outcome(rank))
        sys.exit(3)

    def changes_its_mind(rank, channel):
        channel.send(pass_outcome(rank))
        raise ValueError("after the test")

    def gives_a_wrong_rank(rank, channel):
        channel.send(outcome_of_exception(7, ValueError("seven")))
        sys.exit(10)


class Watchdog(TestCase):
    def setUp(self):
        super().setUp()
        self.starter = RankStarter()
        self.addCleanup(self.starter.close)
        self.scratch = make_scratch_folder()
        self.addCleanup(remove_scratch_folder, self.scratch)

    def run_ranks(self, method, deadline=FOREVER, world_size=2, **expectation):
        jobs = [
            RankJob(
                module=__name__,
                module_file=__file__,
                class_name="Ranks",
                method=method,
                rank=rank,
                world_size=world_size,
                scratch=str(self.scratch.path),
                rendezvous_file=str(self.scratch.rendezvous),
            )
            for rank in range(world_size)
        ]
        with self.starter.launch(jobs) as ranks:
            outcomes = supervise(ranks, time.monotonic() + deadline, ExitExpectation(**expectation))
        for pid in ranks.pids:
            self.assertFalse(os.path.exists(f"/proc/{pid}"), "a rank is left")
        return outcomes

    def statuses(self, outcomes):
        return [outcome.status for outcome in outcomes]

    def test_all_pass(self):
        outcomes = self.run_ranks("passes", world_size=3)
        self.assertEqual([RankStatus.PASSED] * 3, self.statuses(outcomes))
        self.assertEqual([0, 1, 2], [outcome.rank for outcome in outcomes])
        self.assertEqual([0] * 3, [outcome.exit_code for outcome in outcomes])

    def test_a_death_that_is_expected_ends_nobody(self):
        outcomes = self.run_ranks("one_dies_and_the_others_go_on", ignored=True)
        self.assertEqual([RankStatus.PASSED, RankStatus.DIED], self.statuses(outcomes))
        self.assertEqual(5, outcomes[1].exit_code)

    def test_a_rank_is_what_it_was_started_as(self):
        outcomes = self.run_ranks("gives_a_wrong_rank")
        self.assertEqual([0, 1], [outcome.rank for outcome in outcomes])

    def test_a_rank_that_does_not_end_after_its_pass_hangs(self):
        outcomes = self.run_ranks("passes_and_does_not_end", deadline=1.0)
        self.assertEqual([RankStatus.HUNG] * 2, self.statuses(outcomes))
        self.assertEqual([True] * 2, [outcome.finished for outcome in outcomes])

    def test_an_exit_code_that_contradicts_the_outcome(self):
        outcomes = self.run_ranks("passes_and_exits_3")
        self.assertEqual([RankStatus.DIED] * 2, self.statuses(outcomes))
        self.assertEqual([3, 3], [outcome.exit_code for outcome in outcomes])

    def test_the_last_word_counts(self):
        outcomes = self.run_ranks("changes_its_mind")
        self.assertEqual([RankStatus.ERRORED] * 2, self.statuses(outcomes))
        self.assertEqual("ValueError: after the test", outcomes[0].headline)

    def test_a_method_that_is_not_there(self):
        outcomes = self.run_ranks("no_such_method")
        self.assertEqual([RankStatus.ERRORED] * 2, self.statuses(outcomes))
        self.assertIn("no_such_method", outcomes[0].headline)


if __name__ == "__main__":
    run_tests()
