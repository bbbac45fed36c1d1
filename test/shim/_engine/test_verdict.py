"""`verdict()` as a table and by properties."""

import signal
import sys
import unittest
from dataclasses import replace
from pathlib import Path

import torch
from hypothesis import strategies as st

from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim._engine.verdict import ExitExpectation, VerdictKind, verdict
from torch_testing_shim._engine.waits import Wait
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from collective_logs import log_of
from properties import given

SLEEPING = 'Current thread 0x01 (most recent call first):\n  File "/t/test_x.py", line 38 in test_a\n'
WAITING = f"""\
Current thread 0x01 (most recent call first):
  File "{Path(torch.__file__).parent}/distributed/distributed_c10d.py", line 1 in barrier
  File "/t/test_x.py", line 39 in test_a
"""
GLOO_LOST = "RuntimeError: Connection closed by peer [127.0.0.1]:1"


def passed(rank, at=1.0):
    return RankOutcome(rank, RankStatus.PASSED, at, exit_code=0, finished=True)


def skipped(rank, reason="no such device", at=1.0):
    return RankOutcome(rank, RankStatus.SKIPPED, at, skip_reason=reason, exit_code=86, finished=True)


def raised(rank, headline, at=1.0, status=RankStatus.ERRORED):
    return RankOutcome(rank, status, at, headline=headline, traceback=headline, exit_code=10, finished=True)


def died(rank, exit_code, at=1.0, finished=False):
    return RankOutcome(rank, RankStatus.DIED, at, pid=77, exit_code=exit_code, finished=finished)


def still_running(rank, status, at=9.0, stacks=""):
    return RankOutcome(rank, status, at, exit_code=-9, stacks=stacks)


class VerdictTable(TestCase):
    def check(self, outcomes, kind, headline, cause=None, **expectation):
        found = verdict(outcomes, ExitExpectation(**expectation))
        self.assertEqual((kind, headline), (found.kind, found.headline))
        self.assertEqual(cause, found.cause.rank if found.cause else None)

    def test_ranks_on_several_hosts(self):
        def on(host, outcome):
            return replace(outcome, host=host)

        silent = on("host2", RankOutcome(2, RankStatus.SILENT, 9.0))
        lost = [on("host1", raised(rank, GLOO_LOST)) for rank in (0, 1)]
        said = "nothing was heard from rank 2 (host2), says ranks 0, 1 (host1)"
        self.check([*lost, silent], VerdictKind.ERROR, said, 2)
        self.check([silent], VerdictKind.ERROR, "nothing was heard from rank 2 (host2)", 2)
        # An error that a rank has raised by itself comes first, and so does a death that a neighbour has seen.
        self.check(
            [on("host1", raised(0, "ValueError: boom")), lost[1], silent],
            VerdictKind.ERROR,
            "rank 0 (host1) errored: ValueError: boom",
            0,
        )
        died_there = "rank 3 (host2) (pid 77) died: killed by SIGKILL, without finishing its test"
        self.check([*lost, silent, on("host2", died(3, -9))], VerdictKind.ERROR, died_there, 3)
        disagreement = "ranks disagree: rank 1 (host2) skipped (no such device), rank 0 (host1) passed"
        self.check([on("host1", passed(0)), on("host2", skipped(1))], VerdictKind.ERROR, disagreement, 1)

    def test_subtests(self):
        def failing(outcome, *parts):
            return replace(outcome, subtests=tuple(replace(part, subtest=f"(i={i})") for i, part in enumerate(parts)))

        first, lost = raised(1, "ValueError: first", 2.0), raised(1, GLOO_LOST, 2.0)
        headline = "rank 1 errored in subtest (i=0): ValueError: first"
        for after in (
            passed(1),
            skipped(1),
            died(1, -9, 3.0),
            still_running(1, RankStatus.HUNG),
            raised(1, "KeyError: 3", 3.0),
        ):
            self.check([passed(0), failing(after, first)], VerdictKind.ERROR, headline, 1)
            self.check([passed(0), failing(after, first)], VerdictKind.ERROR, headline, 1, code=3)
        wrong = raised(0, "AssertionError: wrong", 4.0, RankStatus.FAILED)
        outcomes = [failing(replace(wrong, subtest="(i=0)"), wrong), failing(lost, lost, raised(1, GLOO_LOST, 2.5))]
        self.check(outcomes, VerdictKind.FAILED, "rank 0 failed in subtest (i=0): AssertionError: wrong", 0)
        self.check(
            [failing(lost, lost), still_running(0, RankStatus.STOPPED)],
            VerdictKind.ERROR,
            f"rank 1 waited in vain for rank 0: {GLOO_LOST}",
            0,
        )

    def test_a_subtest_that_one_rank_skips(self):
        one = replace(passed(0), passed_subtests=("(i=1)",), skipped_subtests=(("(rank=0)", "mine"),))
        self.check([one, replace(one, rank=1)], VerdictKind.PASSED, "")
        other = replace(passed(1), passed_subtests=("(i=2)",), skipped_subtests=(("(i=1)", "not here"),))
        headline = "ranks disagree: rank 1 skipped subtest (i=1) (not here), rank 0 passed it"
        self.check([one, other], VerdictKind.ERROR, headline, 1)

    def test_all_passed(self):
        self.check([passed(0), passed(1)], VerdictKind.PASSED, "")

    def test_all_skipped_gives_the_reason(self):
        self.check([skipped(0), skipped(1)], VerdictKind.SKIPPED, "no such device")

    def test_one_skips_alone(self):
        outcomes = [passed(0), skipped(1), passed(2), passed(3)]
        headline = "ranks disagree: rank 1 skipped (no such device), ranks 0, 2, 3 passed"
        self.check(outcomes, VerdictKind.ERROR, headline, cause=1)

    def test_one_skips_while_the_others_wait_for_it(self):
        outcomes = [raised(0, GLOO_LOST), skipped(1)]
        headline = "ranks disagree: rank 1 skipped (no such device), rank 0 went on"
        self.check(outcomes, VerdictKind.ERROR, headline, cause=1)

    def with_logs(self, outcomes, *entered):
        """The outcomes of ranks that entered these collectives, each after a barrier; None for no more."""
        logs = [log_of(rank, len(outcomes), "barrier", *([one] if one else [])) for rank, one in enumerate(entered)]
        return [replace(outcome, collectives=logs[rank]) for rank, outcome in enumerate(outcomes)]

    SEVEN = (
        "rank 1 entered all_reduce of [7] as collective 2 of the default group, ranks 0, 2 entered all_reduce of [3]; "
    )

    def test_a_rank_that_gloo_aborts_is_not_to_blame_where_another_entered_something_else(self):
        outcomes = [died(0, -signal.SIGABRT), raised(1, GLOO_LOST, at=2.0), raised(2, GLOO_LOST, at=2.0)]
        entered = ("all_reduce [3]", "all_reduce [7]", "all_reduce [3]")
        headline = "rank 0 (pid 77) died: killed by SIGABRT, without finishing its test"
        self.check(self.with_logs(outcomes, *entered), VerdictKind.ERROR, self.SEVEN + headline, cause=0)
        self.check(self.with_logs(outcomes, None, *entered[:1] * 2), VerdictKind.ERROR, headline, cause=0)
        killed = [died(0, -signal.SIGKILL), *outcomes[1:]]
        headline = headline.replace("ABRT", "KILL")
        self.check(self.with_logs(killed, *entered), VerdictKind.ERROR, headline, cause=0)

    def test_hosts_of_ranks_that_parted_are_named(self):
        outcomes = [replace(raised(rank, GLOO_LOST), host=f"host{rank // 2 + 1}") for rank in range(4)]
        found = verdict(self.with_logs(outcomes, *["all_reduce [3]"] * 3, "all_reduce [7]")).headline
        self.assertIn("rank 3 (host2) entered all_reduce of [7] as collective 2 of the default group, ", found)
        self.assertIn("ranks 0, 1 (host1), rank 2 (host2) entered all_reduce of [3]; ", found)

    def test_ranks_whose_time_was_up_because_one_entered_something_else(self):
        outcomes = [raised(rank, GLOO_LOST, at=2.0 - rank / 8) for rank in range(3)]
        entered = ("all_reduce [3]", "all_reduce [7]", "all_reduce [3]")
        headline = f"{self.SEVEN}rank 2 errored: {GLOO_LOST}"
        self.check(self.with_logs(outcomes, *entered), VerdictKind.ERROR, headline, cause=2)
        outcomes[1] = still_running(1, RankStatus.STOPPED)
        self.check(self.with_logs(outcomes, *entered), VerdictKind.ERROR, headline, cause=2)

    def test_a_rank_that_passed_without_the_collective_that_others_wait_in(self):
        outcomes = self.with_logs([raised(0, GLOO_LOST), passed(1), raised(2, GLOO_LOST)], "barrier", None, "barrier")
        headline = "rank 1 entered nothing as collective 2 of the default group, ranks 0, 2 entered barrier; "
        self.check(outcomes, VerdictKind.ERROR, f"{headline}rank 0 errored: {GLOO_LOST}", cause=0)

    def test_an_exception_of_its_own_leads_whatever_ranks_entered(self):
        outcomes = self.with_logs([raised(0, GLOO_LOST), raised(1, "ValueError: x", at=3.0)], "barrier", "reduce [3]")
        self.check(outcomes, VerdictKind.ERROR, "rank 1 errored: ValueError: x", cause=1)

    def test_a_hung_rank_inside_cpp_waited_if_it_entered_what_another_did_not(self):
        native = replace(still_running(0, RankStatus.HUNG, stacks=SLEEPING), wait=Wait.NATIVE.value)
        work = replace(native, rank=2, wait=Wait.COLLECTIVE.value)
        hung = [native, still_running(1, RankStatus.HUNG, stacks=SLEEPING), work]
        place = "in test_a (test_x.py:38)"
        headline = f"rank 1 still ran at the deadline, {place}; ranks 0, 2 waited {place}"
        self.check(self.with_logs(hung, "barrier", None, "barrier"), VerdictKind.ERROR, headline, cause=1)
        headline = f"ranks 0, 1 still ran at the deadline, {place}; rank 2 waited {place}"
        self.check(self.with_logs(hung, None, None, None), VerdictKind.ERROR, headline, cause=0)

    def test_where_all_waited_until_the_deadline_a_rank_that_entered_something_else_leads(self):
        waiting = [still_running(rank, RankStatus.HUNG, stacks=WAITING) for rank in range(3)]
        entered = ("all_reduce [3]", "all_reduce [7]", "all_reduce [3]")
        headline = "ranks 0-2 still ran at the deadline, in barrier (test_x.py:39)"
        self.check(self.with_logs(waiting, *entered), VerdictKind.ERROR, f"{self.SEVEN}{headline}", cause=0)
        self.check(self.with_logs(waiting, *["barrier"] * 3), VerdictKind.ERROR, headline, cause=0)
        waiting[0] = still_running(0, RankStatus.HUNG, stacks=SLEEPING)
        found = verdict(self.with_logs(waiting, *entered))
        self.assertTrue(found.headline.startswith("rank 0 still ran at the deadline, in test_a"), found.headline)

    def test_an_assertion_is_a_failure_and_another_exception_an_error(self):
        failed = raised(1, "AssertionError: 1 != 2", status=RankStatus.FAILED)
        self.check([passed(0), failed], VerdictKind.FAILED, "rank 1 failed: AssertionError: 1 != 2", cause=1)
        self.check([passed(0), raised(1, "ValueError: x")], VerdictKind.ERROR, "rank 1 errored: ValueError: x", cause=1)

    def test_the_earliest_exception_leads(self):
        outcomes = [raised(0, "KeyError: 'late'", at=5.0), raised(1, "ValueError: early", at=4.0)]
        self.check(outcomes, VerdictKind.ERROR, "rank 1 errored: ValueError: early", cause=1)

    def test_a_lost_connection_does_not_lead_though_it_came_first(self):
        outcomes = [raised(0, GLOO_LOST, at=1.0), raised(1, "ValueError: boom", at=2.0)]
        self.check(outcomes, VerdictKind.ERROR, "rank 1 errored: ValueError: boom", cause=1)

    def test_a_death_leads_before_the_lost_connections_that_it_caused(self):
        outcomes = [raised(0, GLOO_LOST), died(1, -signal.SIGKILL, at=2.0)]
        headline = "rank 1 (pid 77) died: killed by SIGKILL, without finishing its test"
        self.check(outcomes, VerdictKind.ERROR, headline, cause=1)

    def test_a_death_leads_before_an_exception_that_came_later(self):
        outcomes = [raised(0, "ValueError: later", at=3.0), died(1, -signal.SIGKILL, at=2.0)]
        headline = "rank 1 (pid 77) died: killed by SIGKILL, without finishing its test"
        self.check(outcomes, VerdictKind.ERROR, headline, cause=1)
        earlier = [raised(0, "ValueError: earlier", at=1.0), died(1, -signal.SIGKILL, at=2.0)]
        self.check(earlier, VerdictKind.ERROR, "rank 0 errored: ValueError: earlier", cause=0)

    def test_what_came_of_a_lost_peer_leads_only_where_there_is_no_other_cause(self):
        wrapped = replace(raised(0, "ValueError: the save has failed", at=1.0), wraps_lost_peer=True)
        headline = "rank 1 (pid 77) died: killed by SIGKILL, without finishing its test"
        self.check([wrapped, died(1, -signal.SIGKILL, at=2.0)], VerdictKind.ERROR, headline, cause=1)
        headline = "ranks disagree: rank 1 skipped (no such device), rank 0 went on"
        self.check([wrapped, skipped(1)], VerdictKind.ERROR, headline, cause=1)
        found = verdict([wrapped, still_running(1, RankStatus.HUNG)])
        self.assertEqual(1, found.cause.rank)
        headline = "rank 0 errored: ValueError: the save has failed"
        self.check([wrapped, still_running(1, RankStatus.STOPPED)], VerdictKind.ERROR, headline, cause=0)
        self.check([wrapped, passed(1)], VerdictKind.ERROR, headline, cause=0)

    def test_what_came_of_a_lost_peer_is_no_planned_death(self):
        wrapped = replace(raised(0, "ValueError: the save has failed", at=1.0), wraps_lost_peer=True)
        headline = "rank 0 errored: ValueError: the save has failed"
        self.check([wrapped, died(1, 7)], VerdictKind.ERROR, headline, cause=0, ignored=True)

    def test_a_silent_end_with_exit_code_0_is_a_death(self):
        headline = "rank 1 (pid 77) died: exit code 0, without finishing its test"
        self.check([passed(0), died(1, 0)], VerdictKind.ERROR, headline, cause=1)

    def test_a_death_after_a_pass_is_no_pass(self):
        headline = "rank 1 (pid 77) died: killed by SIGSEGV, after its test had ended"
        self.check([passed(0), died(1, -signal.SIGSEGV, finished=True)], VerdictKind.ERROR, headline, cause=1)

    def test_a_hang_names_who_was_waited_for(self):
        outcomes = [
            still_running(0, RankStatus.HUNG, 9.1, WAITING),
            still_running(1, RankStatus.HUNG, 9.2, SLEEPING),
            still_running(2, RankStatus.HUNG, 9.0, WAITING),
            passed(3),
        ]
        headline = (
            "rank 1 still ran at the deadline, in test_a (test_x.py:38); "
            "ranks 0, 2 waited in barrier (test_x.py:39); rank 3 had ended"
        )
        self.check(outcomes, VerdictKind.ERROR, headline, cause=1)

    def test_a_hang_at_several_places(self):
        outcomes = [still_running(0, RankStatus.HUNG, 9.0, SLEEPING), still_running(1, RankStatus.HUNG, 9.0)]
        headline = "ranks 0, 1 still ran at the deadline: rank 0 in test_a (test_x.py:38), rank 1 somewhere"
        self.check(outcomes, VerdictKind.ERROR, headline, cause=0)

    def test_a_deadlock(self):
        outcomes = [still_running(rank, RankStatus.DEADLOCKED, 9.0 - rank, WAITING) for rank in range(2)]
        self.check(outcomes, VerdictKind.ERROR, "deadlock: ranks 0, 1 in barrier (test_x.py:39)", cause=0)

    def test_an_exception_that_is_still_handled_leads(self):
        waits = [still_running(rank, RankStatus.DEADLOCKED, stacks=WAITING) for rank in range(3)]
        waits[1] = replace(waits[1], handled=GLOO_LOST)
        deadlock = "deadlock: ranks 0-2 in barrier (test_x.py:39)"
        self.check(waits, VerdictKind.ERROR, deadlock, cause=0)
        waits[2] = replace(waits[2], handled="KeyError: 'x'")
        self.check(waits, VerdictKind.ERROR, f"rank 2 was still handling KeyError: 'x'; {deadlock}", cause=2)

    def test_a_handled_exception_of_a_rank_that_only_waits_does_not_lead(self):
        hung = [still_running(0, RankStatus.HUNG, stacks=WAITING), still_running(1, RankStatus.HUNG, stacks=SLEEPING)]
        hung[0] = replace(hung[0], handled="ImportError: no x")
        self.assertRegex(verdict(hung).headline, "^rank 1 still ran at the deadline, in test_a")
        lost = replace(raised(0, GLOO_LOST), handled="ImportError: no x")
        stopped = still_running(1, RankStatus.STOPPED)
        self.check([lost, stopped], VerdictKind.ERROR, f"rank 0 waited in vain for rank 1: {GLOO_LOST}", cause=1)
        headline = f"rank 0 was still handling ImportError: no x; rank 0 errored: {GLOO_LOST}"
        self.check([lost, raised(1, GLOO_LOST, at=2.0)], VerdictKind.ERROR, headline, cause=0)

    def test_of_ranks_that_raised_the_same_one_that_handled_something_leads(self):
        outcomes = [raised(0, "CollectiveMismatchError: x"), raised(1, "CollectiveMismatchError: x", at=2.0)]
        outcomes[1] = replace(outcomes[1], handled="ValueError: cause")
        headline = "rank 1 was still handling ValueError: cause; rank 0 errored: CollectiveMismatchError: x"
        self.check(outcomes, VerdictKind.ERROR, headline, cause=1)

    def test_a_deadlock_at_one_place_says_who_entered_what(self):
        waits = [still_running(rank, RankStatus.DEADLOCKED, stacks=WAITING) for rank in range(3)]
        entered = ("all_reduce [3]", "all_reduce [7]", "all_reduce [3]")
        headline = f"{self.SEVEN}deadlock: ranks 0-2 in barrier (test_x.py:39)"
        self.check(self.with_logs(waits, *entered), VerdictKind.ERROR, headline, cause=0)

    def test_a_hang_names_who_hung_and_who_had_ended(self):
        outcomes = [passed(0), still_running(1, RankStatus.HUNG), still_running(2, RankStatus.HUNG)]
        headline = "ranks 1, 2 still ran at the deadline; rank 0 had ended"
        self.check(outcomes, VerdictKind.ERROR, headline, cause=1)

    def test_nobody_raised_but_the_rank_that_never_came(self):
        timed_out = "RuntimeError: Timed out waiting 900ms for recv operation to complete"
        outcomes = [raised(0, timed_out), still_running(1, RankStatus.STOPPED)]
        self.check(outcomes, VerdictKind.ERROR, f"rank 0 waited in vain for rank 1: {timed_out}", cause=1)

    def test_only_lost_connections(self):
        outcomes = [raised(0, GLOO_LOST, at=2.0), raised(1, GLOO_LOST, at=1.0)]
        self.check(outcomes, VerdictKind.ERROR, f"rank 1 errored: {GLOO_LOST}", cause=1)

    def test_expected_exit_code_is_rank_0s(self):
        self.check([died(0, -6), died(1, 0)], VerdictKind.PASSED, "", code=-6)
        headline = "rank 0 ended with exit code 0, but the test expects exit code 3"
        self.check([passed(0), passed(1)], VerdictKind.FAILED, headline, cause=0, code=3)

    def test_ignored_exit_codes_do_not_hide_exceptions_and_hangs(self):
        self.check([died(0, 5), passed(1)], VerdictKind.PASSED, "", ignored=True)
        self.check([died(0, 5), raised(1, "E: x")], VerdictKind.ERROR, "rank 1 errored: E: x", cause=1, ignored=True)
        hung = still_running(1, RankStatus.HUNG)
        headline = "rank 1 still ran at the deadline; rank 0 had ended"
        self.check([passed(0), hung], VerdictKind.ERROR, headline, cause=1, ignored=True)


class VerdictProperties(unittest.TestCase):
    makers = st.sampled_from(
        [
            passed,
            skipped,
            lambda rank: raised(rank, "ValueError: x"),
            lambda rank: raised(rank, GLOO_LOST),
            lambda rank: died(rank, 0),
            lambda rank: still_running(rank, RankStatus.HUNG),
            lambda rank: still_running(rank, RankStatus.STOPPED),
        ]
    )

    @given(st.lists(makers, min_size=1, max_size=6))
    def test_a_pass_or_skip_needs_every_rank(self, chosen):
        outcomes = [make(rank) for rank, make in enumerate(chosen)]
        found = verdict(outcomes)
        statuses = {outcome.status for outcome in outcomes}
        self.assertEqual(found.kind is VerdictKind.PASSED, statuses == {RankStatus.PASSED})
        self.assertEqual(found.kind is VerdictKind.SKIPPED, statuses == {RankStatus.SKIPPED})

    @given(st.lists(makers, min_size=1, max_size=6))
    def test_what_is_no_pass_has_a_headline_that_names_its_cause(self, chosen):
        found = verdict([make(rank) for rank, make in enumerate(chosen)])
        if found.kind in (VerdictKind.FAILED, VerdictKind.ERROR):
            self.assertRegex(found.headline, "rank")
            self.assertIsNotNone(found.cause)


if __name__ == "__main__":
    run_tests()
