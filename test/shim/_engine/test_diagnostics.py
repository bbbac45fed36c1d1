"""Diagnostics of real ranks, the stuck ones included. A stand-in on PATH gives native stacks: py-spy is an extra."""

import os
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from torch_testing_shim._engine.diagnostics import native_stacks, take_diagnostics
from torch_testing_shim._engine.waits import Wait
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stuck_ranks import SOON, StuckRanksTestCase


class Testimonies(StuckRanksTestCase):
    def await_diagnostics(self, ranks, rank, function):
        """The rank's words once it stands in the function."""
        give_up = time.monotonic() + SOON
        while f"in {function}\n" not in (told := take_diagnostics(ranks, [rank], native=False)[rank]).stacks:
            self.assertLess(time.monotonic(), give_up, told)
        return told

    def test_a_rank_in_a_collective(self):
        ranks = self.start("waits_in_a_collective", 2)
        told = self.await_diagnostics(ranks, 0, "all_reduce")
        self.assertIs(Wait.COLLECTIVE, told.wait)
        self.assertEqual("", told.native_stacks)

    def test_a_rank_that_cannot_answer_still_shows_its_stacks(self):
        ranks = self.start("holds_the_interpreters_lock", 1)
        told = self.await_diagnostics(ranks, 0, "holds_the_interpreters_lock")
        self.assertIs(Wait.UNKNOWN, told.wait)

    def test_py_spy_is_asked_for_one_rank_at_each_place(self):
        ranks = self.start("sleeps", 3)
        for rank in range(3):
            self.await_diagnostics(ranks, rank, "sleeps")
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, PATH=folder):
            stand_in = Path(folder, "py-spy")
            stand_in.write_text('#!/bin/sh\necho "$4"\n')
            stand_in.chmod(0o755)
            told = take_diagnostics(ranks, range(3), native=True)
        self.assertEqual([str(ranks.pids[0]), "", ""], [told[rank].native_stacks for rank in range(3)])


class NativeStacks(TestCase):
    def ask(self, script, seconds=10.0):
        """The result of asking for two ranks where `script` is py-spy's body; None for no py-spy."""
        with tempfile.TemporaryDirectory() as folder:
            if script is not None:
                program = Path(folder, "py-spy")
                program.write_text(script)
                program.chmod(0o755)
            with mock.patch.dict(os.environ, PATH=folder):
                return native_stacks({0: 17, 2: 18}, seconds)

    def test_not_installed(self):
        self.assertEqual({}, self.ask(None))

    def test_stacks_of_each_rank(self):
        told = self.ask('#!/bin/sh\necho "$@"\n')
        self.assertEqual({0: "dump --native --pid 17", 2: "dump --native --pid 18"}, told)

    def test_a_failure_is_one_line(self):
        told = self.ask("#!/bin/sh\necho more >&2; echo Permission Denied >&2; exit 1\n")
        self.assertEqual("py-spy failed: Permission Denied", told[0])
        self.assertEqual("py-spy failed: 3", self.ask("#!/bin/sh\nexit 3\n")[2])

    def test_one_that_takes_too_long(self):
        began = time.monotonic()
        self.assertEqual({0: "py-spy took too long"}, {0: self.ask("#!/bin/sh\nexec /bin/sleep 60\n", 0.2)[0]})
        self.assertLess(time.monotonic() - began, 30)

    def test_one_that_cannot_be_run(self):
        self.assertEqual("py-spy cannot be run: Exec format error", self.ask("\x00")[0])


if __name__ == "__main__":
    run_tests()
