"""The processes of a test file: found wherever they went, ended however they resist, and dead with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil

from torch_testing_shim._runner.process.command import MARK_VARIABLE
from torch_testing_shim._runner.process.process_tree import ProcessTree
from torch_testing_shim.common_utils import TestCase, run_tests

ROOT = Path(__file__).resolve().parents[4]

SLEEP = "import time; time.sleep(300)"
IGNORE_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); {SLEEP}"


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class ProcessTestCase(TestCase):
    """A test that starts processes; they are killed when it ends."""

    def start(self, script: str, *, mark: str = "", new_session: bool = True) -> subprocess.Popen[str]:
        """Start a Python process that carries `mark` and wait for the first line it prints."""
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, MARK_VARIABLE: mark, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=new_session,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.first_line = process.stdout.readline().strip()
        return process


def end(tree: ProcessTree, grace: float) -> int:
    """End a tree, looking at it as often as it likes; return how many processes were ended."""
    ending = tree.end(grace)
    while True:
        try:
            next(ending)
        except StopIteration as stop:
            return int(stop.value)
        time.sleep(0.02)


class ProcessTreeTest(ProcessTestCase):
    def test_members_are_those_of_the_session_and_those_that_left_it(self) -> None:
        mark = uuid.uuid4().hex
        leaves = f"import os; os.fork() or os.setsid(); print(flush=True); {SLEEP}"
        leader = self.start(leaves, mark=mark)
        self.start(f"print(flush=True); {SLEEP}", mark="another", new_session=True)
        tree = ProcessTree(leader.pid, mark)
        deadline = time.monotonic() + 10
        while len(tree.members()) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        members = tree.members()
        self.assertEqual(2, len(members))
        self.assertIn(leader.pid, [process.pid for process in members])
        tree.kill()
        self.assertEqual([], tree.members())

    def test_a_member_without_the_mark_is_known_by_its_session(self) -> None:
        leader = self.start(f"print(flush=True); {SLEEP}", mark="")
        tree = ProcessTree(leader.pid, uuid.uuid4().hex)
        self.assertEqual([leader.pid], [process.pid for process in tree.members()])

    def test_what_ends_within_the_grace_is_not_counted(self) -> None:
        leader = self.start("print(flush=True); import time; time.sleep(0.2)")
        self.assertEqual(0, end(ProcessTree(leader.pid, "none"), grace=30.0))
        self.assertEqual(0, leader.wait())

    def test_what_does_not_end_gets_sigterm(self) -> None:
        leader = self.start(f"print(flush=True); {SLEEP}")
        self.assertEqual(1, end(ProcessTree(leader.pid, "none"), grace=0.0))
        self.assertEqual(-signal.SIGTERM, leader.wait())

    def test_what_ignores_sigterm_gets_sigkill(self) -> None:
        leader = self.start(IGNORE_SIGTERM)
        self.assertEqual(1, end(ProcessTree(leader.pid, "none"), grace=0.0))
        self.assertEqual(-signal.SIGKILL, leader.wait())

    def test_the_process_that_looks_is_never_a_member(self) -> None:
        self.assertNotIn(os.getpid(), [process.pid for process in ProcessTree(os.getsid(0), "none").members()])


class ParentDeathTest(ProcessTestCase):
    def test_a_child_dies_with_its_parent_even_of_sigkill(self) -> None:
        parent = self.start(
            f"""
import subprocess, sys, time
from torch_testing_shim._shared.parent_death import die_with_this_process
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], preexec_fn=die_with_this_process())
print(child.pid, flush=True)
time.sleep(300)
"""
        )
        child = psutil.Process(int(self.first_line))
        self.assertTrue(lives(child))
        parent.kill()
        deadline = time.monotonic() + 10
        while lives(child):
            self.assertLess(time.monotonic(), deadline, "the child outlived its parent")
            time.sleep(0.02)


if __name__ == "__main__":
    run_tests()
