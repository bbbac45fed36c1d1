"""A child of the runner: how its end is noticed, told and collected, and what is open of it meanwhile."""

from __future__ import annotations

import os
import select
import signal
import sys
import unittest

from torch_testing_shim._runner.process.child_process import ChildProcess, reap_orphans, start_child
from torch_testing_shim.common_utils import TestCase, run_tests

#: How long a child may take, in seconds: it takes a fraction of one, and a loaded machine some more.
PATIENCE = 30.0


class ChildProcessTest(TestCase):
    def child(self, *arguments: str) -> ChildProcess:
        nothing = os.open(os.devnull, os.O_WRONLY)
        self.addCleanup(os.close, nothing)
        child = start_child(arguments, os.environ, nothing)
        self.addCleanup(self.finish, child)
        return child

    def finish(self, child: ChildProcess) -> None:
        """End a child that a failed test has left."""
        while not child.has_ended():
            child.signal(signal.SIGKILL)

    @unittest.skipUnless(sys.platform == "linux", "only Linux has descriptors of processes")
    def test_its_descriptor_becomes_readable_at_its_end_and_is_closed_when_that_is_noticed(self) -> None:
        before = os.listdir("/proc/self/fd")
        child = self.child("sleep", "3600")
        descriptor = child.descriptor
        assert descriptor is not None
        self.assertEqual(([], [], []), select.select([descriptor], [], [], 0))
        child.signal(signal.SIGTERM)
        self.assertEqual([descriptor], select.select([descriptor], [], [], PATIENCE)[0])
        self.assertTrue(child.has_ended())
        self.assertEqual((None, -signal.SIGTERM), (child.descriptor, child.exit_code))
        self.assertEqual(len(before) + 1, len(os.listdir("/proc/self/fd")))  # and the one that it would have printed to

    def test_an_exit_status_is_kept_once_the_child_is_collected(self) -> None:
        child = self.child(sys.executable, "-c", "raise SystemExit(7)")
        while not child.has_ended():
            pass
        self.assertEqual((True, 7), (child.has_ended(), child.exit_code))

    def test_a_program_that_is_not_there_cannot_be_started(self) -> None:
        with self.assertRaises(OSError):
            self.child("/nothing/of/this/name")

    @unittest.skipUnless(sys.platform == "linux", "only Linux has orphans adopted")
    def test_strangers_are_collected_and_children_of_others_are_left_alone(self) -> None:
        own = self.child("true")
        os.waitid(os.P_PID, own.pid, os.WEXITED | os.WNOWAIT)
        reap_orphans({own.pid})
        self.assertTrue(own.has_ended())
        self.assertEqual(0, own.exit_code)
        stranger = os.fork()
        if stranger == 0:
            os._exit(0)
        os.waitid(os.P_PID, stranger, os.WEXITED | os.WNOWAIT)
        reap_orphans(())
        with self.assertRaises(ChildProcessError):
            os.waitpid(stranger, os.WNOHANG)


if __name__ == "__main__":
    run_tests()
