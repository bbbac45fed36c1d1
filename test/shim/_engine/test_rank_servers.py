"""The three rank servers.

* The zygote refuses to be forked beside threads, reports ends, leaves nothing, and survives Ctrl-C.
* The fork server forks ranks where threads run in the test process, with the real pytest-xdist too; tests end as in
  ranks
  that are forked from the test process.
* The supervisor's spawned ranks are like the test process: its arguments, folder and environment, its main module.
"""

import gc
import importlib.util
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

import psutil

from torch_testing_shim._engine.channel import THIS_RANK, make_channel
from torch_testing_shim._engine.job import RankJob, make_scratch_folder, remove_scratch_folder
from torch_testing_shim._engine.rank_outcomes import pass_outcome
from torch_testing_shim._engine.rank_servers import ForkRefusedError, start_fork_server, start_zygote
from torch_testing_shim._engine.threads import thread_count
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SAMPLE_HEAD, SampleTestCase, wait_until

#: Runs its tests without asking for its __name__, as old test files do, and has changed what a rank might see.
SAMPLE = """
import gc

os.environ["AT_IMPORT"] = "1"

class Spawned(DTensorTestBase):
    world_size = 1

    def setUp(self):
        os.environ["IN_SET_UP"] = "1"
        self.addCleanup(os.environ.pop, "IN_SET_UP")
        os.chdir("tmp")
        self.addCleanup(os.chdir, os.getcwd())
        super().setUp()

    def test_like_the_test_process(self):
        self.assertEqual(("1", "1"), (os.environ["AT_IMPORT"], os.environ["IN_SET_UP"]))
        self.assertEqual("tmp", os.path.basename(os.getcwd()))
        self.assertEqual("-v", sys.argv[1])
        self.assertIs(type(self), sys.modules["__main__"].Spawned)
        self.assertEqual(1, sys.flags.dont_write_bytecode)
        self.assertEqual(os.environ["THRESHOLD"], str(gc.get_threshold()))

run_tests()
"""


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
print("is imported", flush=True)

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
class KillsAtLast(DTensorTestBase):
    world_size = 2

    def test_the_test_process(self):
        if self.rank == 0:
            os.kill(int(os.environ["TEST_PROCESS"]), signal.SIGKILL)
        time.sleep(3600)
"""


class LikeTheTestProcess(SampleTestCase):
    def test_a_file_that_does_not_ask_for_its_name(self):
        path = self.write_sample(SAMPLE)
        path.write_text(path.read_text().partition('if __name__ == "__main__"')[0])
        usual = {"THRESHOLD": str(gc.get_threshold()), "TORCH_TESTING_SHIM_START_METHOD": "spawn"}
        run = self.run_command("-B", str(path), "-v", **usual)
        self.assertEqual(0, run.exit_code, run.output)
        self.assert_status(run, "Spawned.test_like_the_test_process", TestStatus.PASSED)
        self.assertEqual(1, run.output.count("Ran 1 test in"), run.output)
        self.assert_nothing_left()


class Rank:
    """The work of the forked ranks."""

    @classmethod
    def _run(cls, rank, method, file_name, pipe, **kwargs):
        if method == "leaves_its_group":
            subprocess.Popen(["sleep", "3600"])
            os.setpgid(0, os.getpgid(os.getppid()))
        if method == "leaves_daemons":
            subprocess.Popen(["setsid", "sh", "-c", "sleep 3600 & setsid sleep 3600 & wait"])
            time.sleep(0.2)  # until they are there
        elif method == "waits_for_a_program":
            subprocess.run(["sleep", "3600"], check=False)
        elif method != "end":
            Path(file_name).touch()
            time.sleep(3600)
        THIS_RANK.channel.send(pass_outcome(rank))


class ZygoteTest(TestCase):
    def setUp(self):
        super().setUp()
        self.scratch = make_scratch_folder()
        self.addCleanup(remove_scratch_folder, self.scratch)
        self.scratch.state.write_text("{}")

    def start_zygote(self, preload=()):
        zygote = start_zygote(preload)
        self.addCleanup(zygote.close)
        return zygote

    def job(self, method, rank=0):
        return RankJob(
            __name__, __file__, "Rank", method, rank, 1, str(self.scratch.path), str(self.scratch.rendezvous)
        )

    def test_folders_of_modules_that_it_imported_go_with_it(self):
        module = self.scratch.path / "has_a_folder.py"
        module.write_text("import tempfile\nFOLDER = tempfile.TemporaryDirectory(dir=__file__[:-15])\n")
        with mock.patch("sys.path", [str(self.scratch.path), *sys.path]):
            before = set(self.scratch.path.iterdir())
            zygote = self.start_zygote(["has_a_folder"])
        wait_until(lambda: set(self.scratch.path.glob("tmp*")) - before)
        zygote.close()
        self.assertEqual(set(), {path for path in self.scratch.path.glob("tmp*") if path not in before})

    def fork(self, zygote, method="end", rank=0):
        reader, rank_end = make_channel()
        self.addCleanup(reader.close)
        try:
            return zygote.start_rank(self.job(method, rank), rank_end), reader
        finally:
            os.close(rank_end)

    def exits(self, zygote, count):
        found = []
        self.assertTrue(wait_until(lambda: found.extend(zygote.read_exits()) or len(found) >= count))
        return found

    def test_a_rank_is_forked_and_its_end_reported(self):
        zygote = self.start_zygote()
        pid, reader = self.fork(zygote, rank=2)
        (end,) = self.exits(zygote, 1)
        self.assertEqual((2, 0), (end.rank, end.exit_code))
        self.assertEqual(pass_outcome(2).status, reader.read().status)
        self.assertFalse(psutil.pid_exists(pid))

    def test_signals_reach_a_rank_and_its_children(self):
        zygote = self.start_zygote()
        pid, _ = self.fork(zygote, "sleep")
        zygote.signal(pid, signal.SIGKILL)
        (end,) = self.exits(zygote, 1)
        self.assertEqual(-signal.SIGKILL, end.exit_code)

    def test_a_signal_reaches_a_rank_that_has_left_its_group_and_what_it_left_there(self):
        zygote = self.start_zygote()
        pid, _ = self.fork(zygote, "leaves_its_group")
        self.assertTrue(wait_until(self.scratch.rendezvous.exists))
        (child,) = psutil.Process(pid).children()
        self.assertEqual(os.getpgid(zygote.pid), os.getpgid(pid))
        zygote.signal(pid, signal.SIGKILL)
        (end,) = self.exits(zygote, 1)
        self.assertEqual(-signal.SIGKILL, end.exit_code)
        self.assertFalse(child.is_running())

    def test_a_signal_to_a_rank_alone_leaves_the_program_that_it_waits_for(self):
        zygote = self.start_zygote()
        pid, _ = self.fork(zygote, "waits_for_a_program")
        rank = psutil.Process(pid)
        self.assertTrue(wait_until(lambda: [child.name() for child in rank.children()] == ["sleep"]))
        (child,) = rank.children()
        zygote.signal(pid, signal.SIGUSR2, alone=True)  # the stacks of a rank, and by default a program's end
        self.assertTrue(wait_until(lambda: "in _run" in self.scratch.stacks(0).read_text()))
        self.assertTrue(child.is_running() and rank.is_running())

    def test_when_the_last_end_is_told_nothing_is_left(self):
        zygote = self.start_zygote()
        self.fork(zygote, "leaves_daemons")
        self.exits(zygote, 1)
        self.assertEqual([], psutil.Process(zygote.pid).children(recursive=True))

    def test_the_zygote_is_one_thread_and_ignores_the_terminal(self):
        zygote = self.start_zygote(["torch._dynamo"])
        self.fork(zygote)
        self.exits(zygote, 1)
        self.assertEqual(1, psutil.Process(zygote.pid).num_threads())
        os.kill(zygote.pid, signal.SIGINT)
        self.fork(zygote)
        self.exits(zygote, 1)

    def test_preload_saves_the_ranks_the_import(self):
        self.assertEqual(1, thread_count())
        zygote = self.start_zygote(["a_module_that_is_not_there", "colorsys"])
        _, reader = self.fork(zygote)
        self.exits(zygote, 1)
        self.assertIsNotNone(reader.read())  # a missing module does no harm

    def test_close_ends_zygote_and_ranks(self):
        zygote = self.start_zygote()
        pid, _ = self.fork(zygote, "sleep")
        zygote.close()
        zygote.close()
        self.assertFalse(zygote.is_usable)
        self.assertTrue(wait_until(lambda: not psutil.pid_exists(pid), 5))
        self.assertFalse(psutil.pid_exists(zygote.pid))

    def test_a_dead_zygote_is_told(self):
        zygote = self.start_zygote()
        self.assertTrue(zygote.is_usable)
        os.kill(zygote.pid, signal.SIGKILL)
        self.assertTrue(wait_until(lambda: not zygote.is_usable))
        with self.assertRaisesRegex(ForkRefusedError, "is gone"):
            self.fork(zygote)

    def test_refused_beside_a_thread(self):
        stop = threading.Event()
        thread = threading.Thread(target=stop.wait)
        thread.start()
        try:
            with self.assertRaisesRegex(ForkRefusedError, "2 threads are running in the test process"):
                start_zygote()
        finally:
            stop.set()
            thread.join()

    def test_no_descriptor_is_left(self):
        before = psutil.Process().num_fds()
        for _ in range(3):
            zygote = start_zygote()
            reader, rank_end = make_channel()
            zygote.start_rank(self.job("end"), rank_end)
            os.close(rank_end)
            self.exits(zygote, 1)
            zygote.close()
            reader.close()
        self.assertEqual(before, psutil.Process().num_fds())


class BesideAThread(SampleTestCase):
    def test_ranks_are_forked_and_a_killed_test_process_takes_all_along(self):
        run = self.run_command(str(self.write_sample(THREAD + FORKED + KILLS)), TORCH_TESTING_SHIM_START_METHOD="fork")
        self.assertEqual(-signal.SIGKILL, run.exit_code, run.output)
        self.assertEqual([], self.processes_of_sample())
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


class NoAnswer(TestCase):
    def test_the_fork_is_refused(self):
        scratch = make_scratch_folder()
        self.addCleanup(remove_scratch_folder, scratch)
        reader, rank_end = make_channel()
        self.addCleanup(reader.close)
        self.addCleanup(os.close, rank_end)
        with mock.patch("torch_testing_shim._engine.rank_servers._START_SECONDS", 0.01):
            server = start_fork_server(scratch, ())
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
        # as pytest shows an exception, or as the plugin does where it is installed; a summary may repeat it
        told = "^(?:E .*RankFailure: )?rank 1 failed: AssertionError: assert {'a': 1} == {'a': 0}"
        self.assertEqual(2, len(re.findall(told, run.output, re.MULTILINE)), run.output)
        return sorted(re.findall(r"^(?:PASSED|FAILED|ERROR) \S+", run.output, re.MULTILINE)), run.output

    def test_outcomes_are_those_without_it(self):
        (self.folder / "conftest.py").write_text("import torch\ntorch.set_by_conftest = 1\n")
        for name in ("test_one.py", "test_two.py"):
            (self.folder / name).write_text(SAMPLE_HEAD + textwrap.dedent(FILE))
        expected, output = self.outcomes()
        self.assertEqual(6, len(expected), output)
        self.assertNotIn("torch_testing_shim: ranks are", output)
        found, output = self.outcomes("-n", "1")  # each worker imports torch, and so does its fork server
        self.assertEqual(expected, found, output)
        self.assertEqual(1, output.count(SAID), output)
        self.assertNotIn("spawned", output)


if __name__ == "__main__":
    run_tests()
