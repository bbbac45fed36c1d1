"""Processes that a rank leaves, in real groups, are found, counted and ended; those that tidy up are left alone."""

import os
import signal
import subprocess
import sys
from multiprocessing.util import spawnv_passfds
from pathlib import Path

from torch_testing_shim._engine.leftovers import (
    children_of_this_process,
    command_of,
    end_group,
    is_of_a_test,
    is_tidying,
)
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import wait_until

SLEEP = "import time; print(flush=True); time.sleep(3600)"
#: Looks like multiprocessing's resource tracker by its command line.
TRACKER = "from time import sleep; 'multiprocessing.resource_tracker'; print(flush=True); sleep(3600)"
#: Looks like a helper that torch starts.
INDUCTOR = "from time import sleep; '/torch/_inductor/'; print(flush=True); sleep(3600)"


class LeftoversTestCase(TestCase):
    def start(self, program, **options):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, **options)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        process.stdout.readline()
        return process

    def start_leader(self):
        """A process that leads a group."""
        leader = self.start("print(flush=True); input()", stdin=subprocess.PIPE, preexec_fn=os.setpgrp)
        self.addCleanup(leader.stdin.close)
        return leader

    def end_leader(self, leader):
        """End it, and leave it to be reaped."""
        leader.kill()
        os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)


class Commands(LeftoversTestCase):
    def test_one_that_is_just_started_has_its_command(self):
        for _ in range(50):  # half of them have none yet when `spawnv_passfds` returns
            pid = spawnv_passfds(b"/bin/sleep", [b"sleep", b"0.1"], [])
            self.assertEqual(b"sleep\x000.1\x00", command_of(pid))
            os.waitpid(pid, 0)

    def test_one_that_has_ended_has_none(self):
        process = self.start("print(flush=True)")
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        self.assertEqual(b"", command_of(process.pid))


class Groups(LeftoversTestCase):
    def test_members_are_ended_and_counted_and_no_others(self):
        leader = self.start_leader()
        members = [
            self.start(program, preexec_fn=lambda: os.setpgid(0, leader.pid)) for program in (SLEEP, SLEEP, INDUCTOR)
        ]
        apart = self.start(SLEEP, start_new_session=True)
        self.end_leader(leader)
        self.assertEqual({members[0].pid, members[1].pid}, end_group(leader.pid))
        self.assertEqual([-signal.SIGKILL] * 3, [member.wait(10) for member in members])
        self.assertIsNone(apart.poll())
        self.assertEqual(set(), end_group(leader.pid))

    def test_what_tidies_up_is_let_be(self):
        leader = self.start_leader()
        tracker = self.start(TRACKER, preexec_fn=lambda: os.setpgid(0, leader.pid))
        forks = "import os; [os.fork() for _ in range(3)]\n" + SLEEP
        member = self.start(forks, preexec_fn=lambda: os.setpgid(0, leader.pid))
        self.end_leader(leader)
        self.assertIn(member.pid, end_group(leader.pid))
        self.assertEqual(-signal.SIGKILL, member.wait(10))
        self.assertIsNone(tracker.poll())
        self.assertTrue(wait_until(lambda: not end_group(leader.pid)), "a fork is left")


class Kinds(LeftoversTestCase):
    def test_by_their_command(self):
        for program, expected in ((SLEEP, (False, True)), (TRACKER, (True, False)), (INDUCTOR, (False, False))):
            pid = self.start(program).pid
            self.assertEqual(expected, (is_tidying(pid), is_of_a_test(pid)))

    def test_the_real_tracker(self):
        code = (
            "from multiprocessing import resource_tracker as r; r.ensure_running();"
            "print(r._resource_tracker._pid, flush=True); input()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with process:
            pid = int(process.stdout.readline())
            self.assertTrue(wait_until(lambda: is_tidying(pid)))  # it is one as soon as it executes its own program
            process.stdin.write("\n")


class Children(LeftoversTestCase):
    def test_living_and_ended_ones_until_they_are_reaped(self):
        before = set(children_of_this_process())
        living = self.start(SLEEP)
        ended = subprocess.Popen([sys.executable, "-c", ""])
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        self.assertEqual({living.pid, ended.pid}, set(children_of_this_process()) - before)
        ended.wait()
        self.assertEqual({living.pid}, set(children_of_this_process()) - before)


if __name__ == "__main__":
    run_tests()
