"""All rank servers, the zygote, the fork server and the supervisor: what ranks leave is counted and ended, what
tidies up after them may do so, and a killed controller takes all along."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing import shared_memory
from pathlib import Path

import psutil
import torch

from torch_testing_shim._engine.channel import THIS_RANK, make_channel
from torch_testing_shim._engine.job import RankJob, make_scratch_folder, remove_scratch_folder
from torch_testing_shim._engine.rank_outcomes import pass_outcome
from torch_testing_shim._engine.rank_server import signal_rank
from torch_testing_shim._engine.rank_servers import start_fork_server, start_supervisor, start_zygote
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase, wait_until

#: Things that a rank holds on to.
KEPT = []

SLEEP = [sys.executable, "-c", "import time; time.sleep(3600)"]


#: Leads a group of its own with two children.
FAMILY = "sleep 3600 & sleep 3600 & wait"


def segments_of(pid):
    return [name for name in os.listdir("/dev/shm") if f"-{pid}-" in name or f"_{pid}_" in name]


class Ranks:
    """The work of the ranks, by method name; each but the last is killed by the test."""

    @classmethod
    def _run(cls, rank, method, file_name, pipe, **kwargs):
        getattr(cls, method)()
        THIS_RANK.channel.send(pass_outcome(rank))
        if method != "leaves_processes":
            time.sleep(3600)

    def has_shared_memory():
        shared_memory.SharedMemory(f"server-{os.getpid()}-", create=True, size=1024)

    def shares_a_tensor():
        torch.multiprocessing.set_sharing_strategy("file_system")
        KEPT.append(torch.ones(1024).share_memory_())

    def leaves_processes():
        subprocess.Popen(SLEEP)
        subprocess.Popen(SLEEP, start_new_session=True)
        shared_memory.SharedMemory(f"server-{os.getpid()}-", create=True, size=1024)  # and the tracker, which is none


class WhatRanksLeave(TestCase):
    def check(self, start):
        scratch = make_scratch_folder()
        self.addCleanup(remove_scratch_folder, scratch)
        scratch.state.write_text("{}")
        server = start(scratch)
        self.addCleanup(server.close)
        methods = ("has_shared_memory", "shares_a_tensor", "leaves_processes")
        jobs = [
            RankJob(__name__, __file__, "Ranks", method, rank, 3, str(scratch.path), "unused")
            for rank, method in enumerate(methods)
        ]
        pids, exits = [], []
        for job in jobs:
            reader, rank_end = make_channel()
            self.addCleanup(reader.close)
            pids.append(server.start_rank(job, rank_end))
            os.close(rank_end)
            self.assertTrue(wait_until(lambda reader=reader: reader.read() is not None), job.folder.output(job.rank))
        for pid in pids[:2]:
            self.assertNotEqual([], segments_of(pid))
            server.signal(pid, signal.SIGKILL)
        self.assertTrue(wait_until(lambda: exits.extend(server.read_exits()) or len(exits) == 3))
        self.assertEqual([-9, -9, 0], [end.exit_code for end in sorted(exits, key=lambda end: end.rank)])
        self.assertEqual(2, sum(end.left for end in exits))
        self.assertTrue(wait_until(lambda: not [name for pid in pids for name in segments_of(pid)], 10), "segments")
        self.assertTrue(wait_until(lambda: not psutil.Process(server.pid).children(), 10), "processes")

    def test_of_the_zygote(self):
        self.check(lambda _: start_zygote())

    def test_of_the_fork_server(self):
        self.check(lambda scratch: start_fork_server(scratch, ()))

    def test_of_the_supervisor(self):
        self.check(start_supervisor)


class ToldInReports(SampleTestCase):
    def test_in_a_failure_and_with_the_output(self):
        run = self.run_sample(
            """
            class Leaves(DTensorTestBase):
                world_size = 2

                def test_fails(self):
                    subprocess.Popen(["sleep", "3600"])
                    subprocess.Popen(["sleep", "3600"], start_new_session=True)
                    self.fail()

                def test_passes(self):
                    if self.rank == 0:
                        subprocess.Popen(["sleep", "3600"])

                def test_tidy(self):
                    subprocess.run(["true"])
            """,
            TORCH_TESTING_SHIM_SHOW_OUTPUT="1",
        )
        detail = self.assert_status(run, "Leaves.test_fails", TestStatus.FAILED).detail
        self.assertIn("\nthe ranks left 4 processes, which were ended\n", detail)
        self.assertIn("the ranks left 1 process, which was ended\n", run.output)
        self.assertEqual(2, run.output.count("the ranks left"), run.output)


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
        self.assertEqual([False, False], [self.state(child) == "T" for child in children])

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
