"""Supervision of real ranks: times, stacks and ends. The ranks' code is this file's `Ranks`, started by the engine."""

import os
import signal
import subprocess
import sys
import time

from torch_testing_shim._engine.channel import THIS_RANK
from torch_testing_shim._engine.job import RankJob, make_scratch_folder, remove_scratch_folder
from torch_testing_shim._engine.launcher import RankStarter
from torch_testing_shim._engine.outcome import RankStatus
from torch_testing_shim._engine.rank_outcomes import outcome_of_exception, pass_outcome, skip_outcome
from torch_testing_shim._engine.verdict import ExitExpectation
from torch_testing_shim._engine.watchdog import supervise
from torch_testing_shim.common_utils import TestCase, run_tests

#: Longer than any wait here may take, in seconds, and far shorter than the sleeps of the ranks.
SOON = 10.0
FOREVER = 3600


class Ranks:
    """What ranks do, by method name. Each gets its rank and its channel."""

    @classmethod
    def _run(cls, rank, method, file_name, pipe, **kwargs):
        getattr(cls, method)(rank, THIS_RANK.channel)

    def passes(rank, channel):
        channel.send(pass_outcome(rank))

    def one_fails_and_the_others_wait(rank, channel):
        if rank == 1:
            channel.send(outcome_of_exception(rank, AssertionError("no")))
            sys.exit(10)
        time.sleep(FOREVER)

    def one_dies_and_the_others_notice(rank, channel):
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.3)
        channel.send(outcome_of_exception(rank, RuntimeError("Connection closed by peer")))
        sys.exit(10)

    def one_dies_and_the_others_go_on(rank, channel):
        if rank == 1:
            os._exit(5)
        time.sleep(2.5)
        channel.send(pass_outcome(rank))

    def hangs_and_ignores_sigterm(rank, channel):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if rank == 1:
            channel.send(pass_outcome(rank))
            return
        time.sleep(FOREVER)

    def passes_and_does_not_end(rank, channel):
        channel.send(pass_outcome(rank))
        time.sleep(FOREVER)

    def passes_and_exits_3(rank, channel):
        channel.send(pass_outcome(rank))
        sys.exit(3)

    def skips(rank, channel):
        channel.send(skip_outcome(rank, "because"))
        sys.exit(86)

    def changes_its_mind(rank, channel):
        channel.send(pass_outcome(rank))
        raise ValueError("after the test")

    def waits_for_a_program(rank, channel):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.run(["sleep", str(FOREVER)], check=True)

    def blocks_signals(rank, channel):
        signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        time.sleep(FOREVER)

    def leaves_its_group(rank, channel):
        os.setpgid(0, os.getpgid(os.getppid()))
        time.sleep(FOREVER)

    def gives_a_wrong_rank(rank, channel):
        channel.send(outcome_of_exception(7, ValueError("seven")))
        sys.exit(10)

    def prints_much(rank, channel):
        for number in range(100_000):
            print("line", number)
        channel.send(skip_outcome(rank, "because"))
        sys.exit(86)


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
            self.began = time.monotonic()
            outcomes = supervise(ranks, self.began + deadline, ExitExpectation(**expectation))
        for pid in ranks.pids:
            self.assertFalse(os.path.exists(f"/proc/{pid}"), "a rank is left")
        return outcomes

    def statuses(self, outcomes):
        return [outcome.status for outcome in outcomes]

    def elapsed(self):
        return time.monotonic() - self.began

    def test_all_pass(self):
        outcomes = self.run_ranks("passes", world_size=3)
        self.assertEqual([RankStatus.PASSED] * 3, self.statuses(outcomes))
        self.assertEqual([0, 1, 2], [outcome.rank for outcome in outcomes])
        self.assertEqual([0] * 3, [outcome.exit_code for outcome in outcomes])

    def test_waiting_ranks_are_stopped_after_the_grace(self):
        outcomes = self.run_ranks("one_fails_and_the_others_wait")
        self.assertEqual([RankStatus.STOPPED, RankStatus.FAILED], self.statuses(outcomes))
        self.assertIn("in one_fails_and_the_others_wait", outcomes[0].stacks)
        self.assertLess(self.elapsed(), SOON)

    def test_ranks_may_fail_by_themselves_within_the_grace(self):
        outcomes = self.run_ranks("one_dies_and_the_others_notice")
        self.assertEqual([RankStatus.ERRORED, RankStatus.DIED], self.statuses(outcomes))
        self.assertEqual(-signal.SIGKILL, outcomes[1].exit_code)
        self.assertTrue(outcomes[0].lost_peer)
        self.assertLess(outcomes[1].ended_at, outcomes[0].ended_at)

    def test_a_death_that_is_expected_ends_nobody(self):
        outcomes = self.run_ranks("one_dies_and_the_others_go_on", ignored=True)
        self.assertEqual([RankStatus.PASSED, RankStatus.DIED], self.statuses(outcomes))
        self.assertEqual(5, outcomes[1].exit_code)

    def test_deadline_ends_a_rank_that_ignores_sigterm(self):
        outcomes = self.run_ranks("hangs_and_ignores_sigterm", deadline=1.0)
        self.assertEqual([RankStatus.HUNG, RankStatus.PASSED], self.statuses(outcomes))
        self.assertIn("in hangs_and_ignores_sigterm", outcomes[0].stacks)
        self.assertEqual(-signal.SIGKILL, outcomes[0].exit_code)

    def test_what_comes_of_being_ended_is_not_the_ranks_word(self):
        outcomes = self.run_ranks("waits_for_a_program", deadline=1.0)
        self.assertEqual([RankStatus.HUNG] * 2, self.statuses(outcomes))
        self.assertIn("in waits_for_a_program", outcomes[0].stacks)
        self.assertEqual("", outcomes[0].headline)

    def test_a_rank_that_blocks_signals_tells_where_it_stands(self):
        outcomes = self.run_ranks("blocks_signals", deadline=1.0)
        self.assertEqual([RankStatus.HUNG] * 2, self.statuses(outcomes))
        self.assertEqual("blocks_signals", outcomes[0].place.name)

    def test_a_rank_that_has_left_its_group_is_ended(self):
        outcomes = self.run_ranks("leaves_its_group", deadline=1.0)
        self.assertEqual([RankStatus.HUNG] * 2, self.statuses(outcomes))
        self.assertLess(self.elapsed(), SOON)

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

    def test_skip(self):
        outcomes = self.run_ranks("skips")
        self.assertEqual([RankStatus.SKIPPED] * 2, self.statuses(outcomes))
        self.assertEqual("because", outcomes[0].skip_reason)

    def test_end_of_much_output(self):
        outcomes = self.run_ranks("prints_much")
        self.assertTrue(outcomes[0].output.endswith("line 99999\n"))
        self.assertLess(len(outcomes[0].output), 100_000)

    def test_a_method_that_is_not_there(self):
        outcomes = self.run_ranks("no_such_method")
        self.assertEqual([RankStatus.ERRORED] * 2, self.statuses(outcomes))
        self.assertIn("no_such_method", outcomes[0].headline)


if __name__ == "__main__":
    run_tests()
