"""A signal reaches a rank wherever it has gone, what is in its group, or the rank alone: real processes."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from torch_testing_shim._engine.rank_signals import signal_rank
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import wait_until

#: Leads a group of its own with two children.
FAMILY = "sleep 3600 & sleep 3600 & wait"


class RankSignals(TestCase):
    def start_family(self):
        leader = subprocess.Popen(["sh", "-c", FAMILY], preexec_fn=os.setpgrp)
        self.addCleanup(leader.wait)
        self.addCleanup(self.end, leader)
        self.assertTrue(wait_until(lambda: len(self.children(leader)) == 2))
        return leader

    def end(self, leader):
        with suppress(ProcessLookupError):
            os.killpg(leader.pid, signal.SIGKILL)

    def children(self, leader):
        with open(f"/proc/{leader.pid}/task/{leader.pid}/children") as children:
            return [int(child) for child in children.read().split()]

    def test_the_whole_group(self):
        leader = self.start_family()
        children = self.children(leader)
        signal_rank(leader.pid, signal.SIGKILL)
        self.assertEqual(-signal.SIGKILL, leader.wait())
        self.assertTrue(wait_until(lambda: not any(os.path.exists(f"/proc/{pid}/fd/0") for pid in children)))

    def test_the_rank_alone(self):
        leader = self.start_family()
        children = self.children(leader)
        signal_rank(leader.pid, signal.SIGSTOP, alone=True)
        self.assertTrue(wait_until(lambda: self.state(leader.pid) == "T"))
        self.assertEqual(["S", "S"], [self.state(child) for child in children])

    def state(self, pid):
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]

    def test_a_rank_that_is_not_in_its_group(self):
        leader = self.start_family()
        stray = subprocess.Popen(["sleep", "3600"], preexec_fn=lambda: os.setpgid(0, leader.pid))
        self.addCleanup(stray.kill)
        signal_rank(stray.pid, signal.SIGKILL)
        self.assertEqual(-signal.SIGKILL, stray.wait())
        self.assertIsNone(leader.poll(), "the group is another's")

    def test_a_process_that_has_ended_is_passed_over(self):
        ended = subprocess.Popen(["true"])
        ended.wait()
        signal_rank(ended.pid, signal.SIGKILL)


if __name__ == "__main__":
    run_tests()
