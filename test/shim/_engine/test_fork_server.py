"""Ranks that are forked from a new interpreter, since the test process cannot be forked: threads run in it. The ends of
tests are those of ranks that are forked from the test process, with the real pytest-xdist too."""

import importlib.util
import os
import re
import sys
import textwrap
import unittest
from pathlib import Path
from unittest import mock

from torch_testing_shim._engine.channel import make_channel
from torch_testing_shim._engine.fork_server import ForkServer
from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.keeper_link import ForkRefusedError
from torch_testing_shim._engine.scratch import make_scratch_folder, remove_scratch_folder
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SAMPLE_HEAD, SampleTestCase

SAID = "torch_testing_shim: ranks are forked from a new interpreter, not from the test process: "
#: Only the test process has the thread.
THREAD = """
import threading
from torch_testing_shim.common_distributed import MultiProcContinuousTest

if __name__ == "__main__":
    os.environ["TEST_PROCESS"] = str(os.getpid())
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
"""
FORKED = """
import numpy  # which starts threads in the fork server, too; they end at a fork

IMPORTED_IN = os.getpid()
print("is imported")

class Fresh(DTensorTestBase):
    world_size = 2

    def setUp(self):
        os.environ["IN_SET_UP"] = self._testMethodName
        self.addCleanup(os.environ.pop, "IN_SET_UP")
        super().setUp()

    @with_comms
    def test_is_forked(self):
        self.assertEqual((IMPORTED_IN, "test_is_forked"), (os.getppid(), os.environ["IN_SET_UP"]))
        total = torch.ones(1)
        dist.all_reduce(total)
        self.assertEqual(2.0, total.item())

    def test_fails(self):
        self.assertEqual(0, self.rank)

    def test_dies(self):
        if self.rank == 1:
            os._exit(3)

class Kept(MultiProcContinuousTest):
    world_size = 2

    def test_is_forked(self):
        self.assertEqual(IMPORTED_IN, os.getppid())
        self.assertNotIn("IN_SET_UP", os.environ)  # though the interpreter was started while it was set
"""
NOT_THERE = """
if os.path.exists(__file__ + "-imported"):
    raise OSError("the test process has imported this file, and nobody else can")
open(__file__ + "-imported", "w").close()

class One(DTensorTestBase):
    world_size = 1

    def test_body(self):
        self.fail("it cannot be imported")
"""
KILLS = """
class Kills(DTensorTestBase):
    world_size = 2

    def test_the_test_process(self):
        if self.rank == 0:
            os.kill(int(os.environ["TEST_PROCESS"]), signal.SIGKILL)
        time.sleep(3600)
"""


class BesideAThread(SampleTestCase):
    def test_ranks_are_forked(self):
        run = self.run_sample(THREAD + FORKED, TORCH_TESTING_SHIM_START_METHOD="fork")
        self.assertEqual(1, run.exit_code, run.output)
        self.assert_status(run, "Fresh.test_is_forked", TestStatus.PASSED)
        self.assert_status(run, "Kept.test_is_forked", TestStatus.PASSED)
        self.assert_status(run, "Fresh.test_fails", TestStatus.FAILED, "^rank 1 failed: AssertionError")
        self.assert_status(run, "Fresh.test_dies", TestStatus.ERROR, "^rank 1 .*3")
        self.assertIn(f"{SAID}2 threads are running in the test process\n", run.output)
        self.assertEqual(1, run.output.count("torch_testing_shim:"), run.output)
        self.assertEqual(1, run.output.count("is imported\n"), run.output)

    def test_a_file_that_cannot_be_imported_again(self):
        run = self.run_sample(THREAD + NOT_THERE)
        self.assertRegex(run.output, "torch_testing_shim: ranks are spawned, not forked, .*: 2 threads are running")
        self.assert_status(run, "One.test_body", TestStatus.ERROR, "^rank 0 ")

    def test_a_killed_test_process_takes_all_along(self):
        run = self.run_command(str(self.write_sample(THREAD + KILLS)))
        self.assertEqual(-9, run.exit_code, run.output)
        self.assertEqual([], self.processes_of_sample())


class NoAnswer(TestCase):
    def test_the_fork_is_refused(self):
        scratch = make_scratch_folder()
        self.addCleanup(remove_scratch_folder, scratch)
        reader, rank_end = make_channel()
        self.addCleanup(reader.close)
        self.addCleanup(os.close, rank_end)
        with mock.patch.object(ForkServer, "_patience", 0.01):
            server = ForkServer.start(scratch, ())
            self.addCleanup(server.close)
            with self.assertRaisesRegex(ForkRefusedError, "^the interpreter .* has not answered for 0.01 s$"):
                server.start_rank(RankJob(__name__, __file__, "", "", 0, 1, str(scratch.path), ""), rank_end)


#: For pytest, in two files: their ranks see what `conftest.py` did, and asserts are explained.
FILE = """
from torch_testing_shim.common_distributed import MultiProcContinuousTest

IMPORTED_IN = os.getpid()

class Fresh(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_is_forked(self):
        self.assertNotEqual(IMPORTED_IN, os.getpid())
        self.assertEqual(1, torch.set_by_conftest)

    def test_fails(self):
        found = {"a": self.rank}
        assert found == {"a": 0}

class Kept(MultiProcContinuousTest):
    world_size = 2

    def test_is_forked(self):
        self.assertNotEqual(IMPORTED_IN, os.getpid())
"""


@unittest.skipIf(importlib.util.find_spec("xdist") is None, "needs pytest-xdist")
class Xdist(SampleTestCase):
    def outcomes(self, *options):
        options = ("-rA", "-W", "error", "-p", "no:cacheprovider", "--basetemp=base", *options)
        # pytest-benchmark, where it is installed, warns of xdist
        run = self.run_command("-m", "pytest", "-p", "no:benchmark", *options, ".")
        self.assertEqual(1, run.exit_code, run.output)
        self.assert_nothing_left()
        told = "^E .*RankFailure: rank 1 failed: AssertionError: assert {'a': 1} == {'a': 0}"  # a summary may repeat it
        self.assertEqual(2, len(re.findall(told, run.output, re.MULTILINE)), run.output)
        return sorted(re.findall(r"^(?:PASSED|FAILED|ERROR) \S+", run.output, re.MULTILINE)), run.output

    def test_outcomes_are_those_without_it(self):
        (self.folder / "conftest.py").write_text("import torch\ntorch.set_by_conftest = 1\n")
        for name in ("test_one.py", "test_two.py"):
            (self.folder / name).write_text(SAMPLE_HEAD + textwrap.dedent(FILE))
        expected, output = self.outcomes()
        self.assertEqual(6, len(expected), output)
        self.assertNotIn("torch_testing_shim: ranks are", output)
        found, output = self.outcomes("-n", "2", "--dist", "loadfile")
        self.assertEqual(expected, found, output)
        self.assertEqual(2, output.count(SAID), output)  # one of each worker's
        self.assertNotIn("spawned", output)


if __name__ == "__main__":
    run_tests()
