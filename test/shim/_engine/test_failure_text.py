"""The report of a failed test, as people read it."""

import sys
from dataclasses import replace
from pathlib import Path

import torch_testing_shim
from torch_testing_shim._engine.failure_text import failure_report, output_report, trimmed_stacks
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim._engine.verdict import verdict
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from collective_logs import log_of

PACKAGE = Path(torch_testing_shim.__file__).parent


def outcome(rank, status, **fields):
    return RankOutcome(rank, status, fields.pop("at", float(rank)), **fields)


class FailureReport(TestCase):
    def report(self, *outcomes):
        return failure_report(verdict(outcomes), outcomes)

    def test_cause_first_then_what_followed(self):
        boom = outcome(1, RankStatus.ERRORED, headline="ValueError: boom", traceback="Traceback:\nValueError: boom")
        lost = "RuntimeError: Connection closed by peer"
        others = [outcome(rank, RankStatus.ERRORED, headline=lost, traceback=lost) for rank in (0, 2, 3)]
        self.assertExpectedInline(
            self.report(others[0], boom, *others[1:]),
            """\
rank 1 errored: ValueError: boom

rank 1:
Traceback:
ValueError: boom

ranks 0, 2, 3 lost their connection to rank 1""",
        )

    def test_a_crash_after_an_exception_is_told_and_an_end_by_the_harness_is_not(self):
        boom = outcome(0, RankStatus.ERRORED, headline="ValueError: boom", traceback="T", exit_code=-11)
        ended = outcome(1, RankStatus.ERRORED, headline="KeyError: 1", traceback="U", exit_code=-9)
        self.assertExpectedInline(
            self.report(boom, ended),
            """\
rank 0 errored: ValueError: boom

rank 0:
T

rank 1, too:
U

rank 0 then died: killed by SIGSEGV""",
        )

    def test_the_same_traceback_is_shown_once(self):
        same = [outcome(rank, RankStatus.FAILED, headline="AssertionError: a", traceback="T") for rank in range(3)]
        other = outcome(3, RankStatus.ERRORED, headline="KeyError: 1", traceback="U")
        self.assertExpectedInline(
            self.report(*same, other),
            """\
rank 0 failed: AssertionError: a

ranks 0-2:
T

rank 3, too:
U""",
        )

    def test_a_death_with_the_last_words(self):
        dead = outcome(0, RankStatus.DIED, pid=5, exit_code=-11, output="before\nFatal Python error: x")
        also = outcome(2, RankStatus.DIED, pid=6, exit_code=3)
        self.assertExpectedInline(
            self.report(dead, outcome(1, RankStatus.PASSED, output="hello"), also),
            """\
rank 0 (pid 5) died: killed by SIGSEGV, without finishing its test

rank 1 passed
rank 2 died: exit code 3

last lines of output:
[rank 0] before
[rank 0] Fatal Python error: x
[rank 1] hello""",
        )

    def test_ranks_that_follow_a_peer(self):
        wrong = outcome(2, RankStatus.FAILED, headline="AssertionError: w: off", traceback="T")
        fine = [
            outcome(rank, RankStatus.FAILED, headline="PeerFailedError", traceback="P", follows_peer=True)
            for rank in (0, 1)
        ]
        self.assertExpectedInline(
            self.report(*fine, wrong),
            """\
rank 2 failed: AssertionError: w: off

rank 2:
T

ranks 0, 1 found nothing wrong in what they hold""",
        )

    def test_a_hang_shows_equal_stacks_once(self):
        stack = 'Current thread 0x{}abc (most recent call first):\n  File "/t/x.py", line 3 in test_a\n'
        hung = [outcome(r, RankStatus.HUNG, stacks=stack.format(r)) for r in range(2)]
        self.assertExpectedInline(
            self.report(*hung),
            """\
ranks 0, 1 still ran at the deadline, in test_a (x.py:3)

stacks of ranks 0, 1 when stopped:
Current thread (most recent call first):
  File "/t/x.py", line 3 in test_a""",
        )

    def test_ranks_that_lost_a_peer_tell_what_they_did_not_agree_on(self):
        logs = [log_of(rank, 4, "barrier", f"all_reduce [{7 if rank == 2 else 3}]") for rank in range(4)]
        lost = [
            outcome(
                rank,
                RankStatus.ERRORED,
                headline="RuntimeError: Connection closed by peer",
                traceback="RuntimeError: Connection closed by peer",
                collectives=logs[rank],
            )
            for rank in (0, 2, 3)
        ]
        report = self.report(outcome(1, RankStatus.DIED, pid=101, exit_code=-6, collectives=logs[1]), *lost)
        self.assertRegex(
            report, r"^rank 2 entered all_reduce of \[7\] as .*; rank 1 \(pid 101\) died: killed by SIGABRT"
        )
        self.assertExpectedInline(
            report.partition("\n\n")[2],
            """\
ranks 0, 2, 3 lost their connection to rank 1

where the ranks parted:
collective 2 of the default group:
  ranks 0, 1, 3 entered all_reduce of [3]
  rank 2 entered all_reduce of [7]""",
        )

    def test_where_a_rank_has_raised_it_is_told_what_others_entered_and_not_what_it_did_not(self):
        raised = outcome(1, RankStatus.FAILED, headline="AssertionError: 1 != 2", traceback="AssertionError: 1 != 2")
        for entered, is_told in (([], False), (["reduce [3]"], True)):
            logs = [log_of(0, 2, "barrier", "barrier"), log_of(1, 2, "barrier", *entered)]
            report = self.report(
                outcome(0, RankStatus.STOPPED, collectives=logs[0]), replace(raised, collectives=logs[1])
            )
            self.assertEqual(is_told, "where the ranks parted" in report, report)

    def test_a_hang_tells_where_ranks_parted(self):
        stack = 'Current thread 0x1 (most recent call first):\n  File "/t/x.py", line 3 in test_a\n'
        logs = [log_of(0, 2, "barrier", "barrier"), log_of(1, 2, "barrier")]
        waits = outcome(0, RankStatus.HUNG, collectives=logs[0], native_stacks="pthread_cond_wait")
        self.assertExpectedInline(
            self.report(waits, outcome(1, RankStatus.HUNG, collectives=logs[1], stacks=stack)),
            """\
ranks 0, 1 still ran at the deadline: rank 0 somewhere, rank 1 in test_a (x.py:3)

where the ranks parted:
collective 2 of the default group:
  rank 0 entered barrier
  rank 1 did not (now at x.py:3)

stacks of rank 1 when stopped:
Current thread (most recent call first):
  File "/t/x.py", line 3 in test_a

native stacks of rank 0:
pthread_cond_wait""",
        )

    def test_warnings_are_told_once_and_do_not_bury_the_rest(self):
        many = ("FutureWarning: use\nsomething else",) * 200 + tuple(f"UserWarning: {n} " + "x" * 200 for n in range(6))
        dead = outcome(0, RankStatus.DIED, exit_code=1, output="last words", warnings=many)
        other = outcome(1, RankStatus.PASSED, warnings=many[:1])
        self.assertExpectedInline(
            self.report(dead, other),
            """\
rank 0 (pid 0) died: exit code 1, without finishing its test

rank 1 passed

last lines of output:
[rank 0] last words

warnings of all ranks:
  201 x FutureWarning: use something else
    1 x UserWarning: 0 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ...
    1 x UserWarning: 1 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ...
    1 x UserWarning: 2 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ...
    1 x UserWarning: 3 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ...
        and 2 more kinds""",
        )

    def test_long_output_keeps_its_end(self):
        dead = outcome(0, RankStatus.DIED, exit_code=1, output="\n".join(f"line {n}" for n in range(100)))
        report = self.report(dead)
        self.assertIn("[rank 0] line 99", report)
        self.assertIn("[rank 0] line 70", report)
        self.assertNotIn("line 69", report)


class Pieces(TestCase):
    def test_stacks_lose_the_harness_and_what_lies_below(self):
        text = f"""\
Thread 0x00006f (most recent call first):
  File "/lib/pathlib.py", line 1175 in rename
  File "{PACKAGE}/_engine/self_report.py", line 3 in _answer

Thread 0x00007f (most recent call first):
  File "/t/x.py", line 3 in test_a
  File "{PACKAGE}/common_distributed.py", line 10 in wrapper
  File "{PACKAGE}/_engine/rank_main.py", line 10 in _run_job
  File "/lib/unittest/case.py", line 5 in run
  File "/t/x.py", line 99 in <module>

Current thread 0x00008f (most recent call first):
  File "/t/y.py", line 4 in other
"""
        self.assertExpectedInline(
            trimmed_stacks(text),
            """\
Thread (most recent call first):
  File "/t/x.py", line 3 in test_a

Current thread (most recent call first):
  File "/t/y.py", line 4 in other""",
        )

    def test_equal_output_of_ranks_is_one_block(self):
        self.assertExpectedInline(
            output_report([(0, "a\nb"), (1, "c"), (2, "a\nb")]),
            """\
[ranks 0, 2] a
[ranks 0, 2] b
[rank 1] c""",
        )


if __name__ == "__main__":
    run_tests()
