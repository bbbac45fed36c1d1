"""Hangs of real ranks: what the report says of each kind, when it comes, and what is none.

Ranks of the samples wait most of the time, so their tests run side by side.
"""

import sys
from pathlib import Path

import torch._C._distributed_c10d as c10d

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

GROUP = """
from datetime import timedelta

class Base(MultiProcessTestCase):
    world_size = 3

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def start_group(self, **kwargs):
        dist.init_process_group(
            "gloo", init_method=f"file://{self.file_name}", rank=self.rank, world_size=self.world_size, **kwargs
        )
        dist.barrier()  # all are connected
"""

AT_DEADLINE = (
    GROUP
    + """
class Hangs(Base):
    def test_one_sleeps(self):
        self.start_group()
        if self.rank == 1:
            time.sleep(600)  # sleeps
        dist.barrier()  # waits

    def test_one_is_busy(self):
        self.start_group()
        while self.rank == 2:
            pass
        dist.broadcast_object_list([1], src=2)
"""
)

STANDING_STILL = (
    GROUP
    + """
class Deadlocks(Base):
    def test_different_collectives(self):
        self.start_group()
        if self.rank == 1:
            dist.all_gather([torch.ones(3) for _ in range(3)], torch.ones(3))
        else:
            dist.all_reduce(torch.ones(3))

    def test_two_wait_for_each_other(self):
        self.start_group()
        if self.rank < 2:
            dist.recv(torch.ones(3), src=1 - self.rank)

    @unittest.skipUnless(hasattr(torch._C._distributed_c10d, "_dump_fr_trace_json"), "there is no recorder for gloo")
    def test_backward(self):
        self.start_group()
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
        loss = model(torch.ones(1, 2)).sum()
        if self.rank != 1:
            loss.backward()
        dist.barrier()

    def test_peers_have_ended(self):
        if self.rank == 0:
            self.start_group()

class Slow(Base):
    def test_sleeps(self):
        self.start_group()
        if self.rank == 1:
            time.sleep(3)
        dist.barrier()

    def test_waits_for_a_program(self):
        self.start_group()
        if self.rank == 1:
            subprocess.run(["sleep", "3"], check=True)
        dist.barrier()

    def test_sleeps_with_open_work(self):
        self.start_group()
        groups = [dist.group.WORLD, dist.new_group([0, 1, 2])]
        dist.barrier(group=groups[1])
        first, second = groups if self.rank == 1 else reversed(groups)
        work = dist.all_reduce(torch.ones(3), group=first, async_op=True)
        time.sleep(3)
        dist.all_reduce(torch.ones(3), group=second)
        work.wait()

    def test_backward_while_one_reads_a_slow_file(self):
        self.start_group()
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
        loss = model(torch.ones(1, 2)).sum()
        if self.rank == 1:
            import os
            reads, writes = os.pipe()
            os.posix_spawn("/bin/sh", ["sh", "-c", "sleep 3; echo"], dict(os.environ),
                file_actions=[(os.POSIX_SPAWN_DUP2, writes, 1)], setsid=True)
            os.read(reads, 1)
        loss.backward()
        dist.barrier()

    def test_expects_a_timeout(self):
        self.start_group(timeout=timedelta(seconds=3))
        # The first rank whose time is up closes its connections: the others may see that before their own time is up.
        with self.assertRaisesRegex(RuntimeError, "(?i)timed? ?out|connection (closed|reset)"):
            dist.recv(torch.ones(1), src=(self.rank + 1) % 3)

    def test_a_thread_lets_them_go_on(self):
        self.start_group()
        def send_later():
            time.sleep(3)
            dist.send(torch.ones(1), dst=1)
        if self.rank == 0:
            import threading
            threading.Thread(target=send_later).start()
            dist.recv(torch.ones(1), src=1, tag=5)
        elif self.rank == 1:
            dist.recv(torch.ones(1), src=0)
            dist.send(torch.ones(1), dst=0, tag=5)
        dist.barrier()
"""
)

RAISES = (
    GROUP
    + """
class Raises(Base):
    def test_raises(self):
        raise ValueError("no")
"""
)


def seconds_of_ranks(entry):
    """From the start of the first rank to the end of the last: what the harness does before is not in it."""
    return max(rank.started_at + rank.seconds for rank in entry.ranks) - entry.ranks[0].started_at


class Hangs(SampleTestCase):
    def reported(self, run, test, headline, seconds):
        """The report of a test that ended in error, checked for its first line and for how long the ranks ran.

        Args:
            headline: regular expression; "@" stands for a line of the sample.
            seconds: pair of the least and the most.
        """
        reason = headline.replace("@", r"\(test_sample.py:\d+\)")
        entry = self.assert_status(run, test, TestStatus.ERROR, f"^{reason}$")
        self.assertGreaterEqual(seconds_of_ranks(entry), seconds[0])
        self.assertLess(seconds_of_ranks(entry), seconds[1])
        return entry.detail

    def test_at_the_deadline(self):
        shares = (["Hangs.test_one_sleeps"], ["Hangs.test_one_is_busy"])
        run = self.run_side_by_side(AT_DEADLINE, *shares, DISTRIBUTED_TESTS_DEFAULT_TIMEOUT="3")
        within = (3.0, 5.0)
        report = self.reported(
            run,
            "Hangs.test_one_sleeps",
            "rank 1 still ran at the deadline, in test_one_sleeps @; ranks 0, 2 waited in barrier @",
            within,
        )
        parted = r"collective 2 of the default group:\n  ranks 0, 2 entered barrier \(.*\)\n  rank 1 did not \("
        self.assertRegex(report, parted)
        report = self.reported(
            run,
            "Hangs.test_one_is_busy",
            "rank 2 still ran at the deadline, in test_one_is_busy @; ranks 0, 1 waited in broadcast_object_list @",
            within,
        )
        self.assertRegex(
            report, r"collective 2 of .*:\n  ranks 0, 1 entered broadcast of \[1\] \(.*\)\n  rank 2 did not \("
        )
        self.assertNotIn("self_report.py", report)

    def test_deadlocks_are_told_before_the_deadline_and_what_is_slow_passes(self):
        slow = ("sleeps", "waits_for_a_program", "expects_a_timeout", "a_thread_lets_them_go_on")
        slow += ("sleeps_with_open_work", "backward_while_one_reads_a_slow_file")
        run = self.run_side_by_side(
            STANDING_STILL,
            ["Deadlocks"],
            *([f"Slow.test_{test}" for test in slow[first::3]] for first in range(3)),
            TORCH_TESTING_SHIM_STALL_SECONDS="1",
            DISTRIBUTED_TESTS_DEFAULT_TIMEOUT="100",
        )
        early = (1.0, 50.0)
        headline = "deadlock: ranks 0, 2 in all_reduce @, rank 1 in all_gather @"
        report = self.reported(run, "Deadlocks.test_different_collectives", headline, early)
        parted = r"collective 2 .*:\n  ranks 0, 2 entered all_reduce of \[3\] .*\n  rank 1 entered all_gather of \[3\] "
        self.assertRegex(report, parted)
        headline = "deadlock: ranks 0, 1 in recv @; rank 2 had ended"
        self.reported(run, "Deadlocks.test_two_wait_for_each_other", headline, early)
        headline = "deadlock: ranks 0, 2 in test_backward @, rank 1 in barrier @"
        if hasattr(c10d, "_dump_fr_trace_json"):  # torch 2.6's does not tell that the collective is still open
            report = self.reported(run, "Deadlocks.test_backward", headline, early)
            parted = r"collective \d .*:\n  ranks 0, 2 entered all_reduce of \[6\] .*\n  rank 1 entered barrier "
            self.assertRegex(report, parted)
        headline = "deadlock: rank 0 in init_process_group @; ranks 1, 2 had ended"
        self.reported(run, "Deadlocks.test_peers_have_ended", headline, early)
        for test in slow:
            entry = self.assert_status(run, f"Slow.test_{test}", TestStatus.PASSED)
            self.assertGreater(seconds_of_ranks(entry), 2.9, "it was slow")

    def test_full_traceback(self):
        run = self.run_sample(RAISES, "--full-traceback", "Raises")
        entry = self.assert_status(run, "Raises.test_raises", TestStatus.ERROR, "ranks? .*ValueError: no")
        self.assertIn("_cases/multi_process.py", entry.detail)


if __name__ == "__main__":
    run_tests()
