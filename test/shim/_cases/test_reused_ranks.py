"""Ranks that run test after test: which tests share them, what each finds, and how each verdict is found."""

import signal
import sys
import time
from pathlib import Path

import psutil

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase, wait_until

ENDINGS = """
import json, tempfile, warnings
from multiprocessing.shared_memory import SharedMemory
from torch_testing_shim._engine import watchdog
from torch_testing_shim.common_distributed import TIMEOUT_OVERRIDE
from torch_testing_shim._engine.rank_outcomes import TEST_SKIPS

TIMEOUT_OVERRIDE["test_09_hangs"] = 3  # seconds; its ranks run already
STATE = []

class Unreachable:
    def __init__(self, act):
        self.act, self.itself = act, self

    def __del__(self):
        self.act()

class Pair(DTensorTestBase):
    world_size = 2

class Endings(Pair):
    def setUp(self):
        DTensorTestBase.setUp(self)
        assert not hasattr(self, "was_set_up")
        self.was_set_up = True
        code = {"test_05_ends_with_an_announced_code": 7, "test_06_passes_with_an_announced_code": 0}
        if self._testMethodName in code:
            method = getattr(self, self._testMethodName).__wrapped__
            self.special_return_code_checks[method] = code[self._testMethodName]
        if self._testMethodName == "test_20_leaves_a_finalizer_without_end":
            watchdog._PUT_BACK_SECONDS = 0.5

    @with_comms
    def test_01_is_the_first(self):
        print("printed by the first")
        warnings.warn("of the first")
        os.environ["LEFT"] = "1"
        open(os.path.join(tempfile.gettempdir(), "left"), "w").close()

    @with_comms
    def test_02_finds_its_own(self):
        assert "LEFT" not in os.environ and os.environ["TMPDIR"] == tempfile.gettempdir()
        assert os.listdir(tempfile.gettempdir()) == []
        assert torch.rand(1) == torch.rand(1, generator=torch.Generator().manual_seed(1234))
        assert dist.get_rank() == self.rank
        warnings.warn("of the first")
        for _ in range(250):
            dist.all_reduce(torch.ones(1))
        recorder = getattr(torch._C._distributed_c10d, "_dump_fr_trace_json", None)
        assert recorder is None or len(json.loads(recorder()).get("entries", [])) <= 200  # or its memory would grow
        assert "TORCH_FR_BUFFER_SIZE" not in os.environ

    def test_03_fails(self):
        print("printed by the one that fails")
        warnings.warn("of the one that fails")
        self.assertEqual(self.rank, 0)

    def test_04_passes(self):
        pass

    def test_05_ends_with_an_announced_code(self):
        os._exit(7)

    def test_06_passes_with_an_announced_code(self):
        pass

    def test_07_passes_with_the_same(self):
        pass

    def test_08_is_killed(self):
        if self.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def test_09_hangs(self):
        if self.rank == 1:
            time.sleep(600)

    def test_10_skips(self):
        self.skipTest("nobody wants this")

    def test_11_skips_with_a_code(self):
        sys.exit(TEST_SKIPS["multi-gpu-2"].exit_code)

    def test_12_leaves_a_patch(self):
        torch.nn.Linear.forward = None

    def test_13_finds_none(self):
        torch.nn.Linear(1, 1)(torch.ones(1))

    def test_14_leaves_what_nobody_finds(self):
        json.dumps._left = True

    def test_15_fails_because_of_it(self):
        assert not hasattr(json.dumps, "_left")

    def test_16_leaves_it_again(self):
        json.dumps._left = True

    def test_17_skips_because_of_it(self):
        if hasattr(json.dumps, "_left"):
            self.skipTest("left")

    @unittest.expectedFailure
    def test_18_is_expected_to_fail(self):
        self.fail()

    def test_19_leaves_a_finalizer_that_ends_its_rank(self):
        if self.rank == 1:
            Unreachable(lambda: os._exit(3))

    def test_20_leaves_a_finalizer_without_end(self):
        if self.rank == 1:
            Unreachable(lambda: time.sleep(600))

    def test_21_leaves_shared_memory(self):
        if self.rank == 1:
            STATE.append(SharedMemory(create=True, size=8))
            with open(os.environ["MARK"], "w") as mark:
                mark.write(STATE[0].name)

class Others(Pair):
    def test_1_has_the_same_ranks(self):
        print("only this")

    def test_2_in_another_environment(self):
        pass

    def setUp(self):
        if self._testMethodName == "test_2_in_another_environment":
            os.environ["OTHER"] = "1"
            self.addCleanup(os.environ.pop, "OTHER")
        super().setUp()

class More(Pair):
    world_size = 3

    def test_1(self):
        pass
"""


CHOICES = """
from torch_testing_shim.common_distributed import MultiProcContinuousTest

class Alone(DTensorTestBase):
    world_size = 1

    def test_1(self):
        pass

    def test_2(self):
        pass

class Chosen(Alone):
    reuse_ranks = True

class Declined(Alone):
    reuse_ranks = False

class Neither(Alone):
    reuse_ranks = "yes"

class OwnRun(Chosen):
    @classmethod
    def _run(cls, rank, test_name, file_name, parent_pipe, **kwargs):
        cls.has_run = getattr(cls, "has_run", 0) + 1
        try:
            super()._run(rank, test_name, file_name, parent_pipe, **kwargs)
            print("after the test")
        finally:
            del cls.has_run

    def test_2(self):
        self.assertEqual(self.has_run, 1)

class OwnCheck(Chosen):
    def _check_return_codes(self, fn, elapsed_time):
        assert [process.exitcode for process in self.processes] == [0]

class OwnProcesses(Chosen):
    def _start_processes(self, proc):
        super()._start_processes(lambda **call: proc(**{**call, "kwargs": {**call["kwargs"], "own": 1}}))

class Pipes(Chosen):
    def _spawn_processes(self):
        super()._spawn_processes()
        for rank, process in enumerate(self.processes):
            self.pid_to_pipe[process.pid].send(f"{self._testMethodName} {rank}")

    @classmethod
    def _run(cls, rank, test_name, file_name, parent_pipe, **kwargs):
        assert parent_pipe.recv() == f"{test_name} {rank}"
        super()._run(rank, test_name, file_name, parent_pipe, **kwargs)

class Threads(SpawningThreads):
    reuse_ranks = True
    world_size = 1

    def test_1(self):
        pass

class Continuous(MultiProcContinuousTest):
    reuse_ranks = True
    world_size = 1

    def test_1(self):
        pass
"""

WAITING = """
class A(DTensorTestBase):
    world_size = 2
    reuse_ranks = True

    def test_1(self):
        open(f"{os.environ['MARK']}{os.getpid()}", "w").close()

class B(TestCase):
    def test_waits(self):
        open(os.environ["MARK"], "w").close()
        time.sleep(600)

    def test_ends(self):
        os._exit(3) if os.environ["END"] == "exit" else os.kill(os.getpid(), int(os.environ["END"]))
"""


def pid_of(run, test):
    return run.entries[test].ranks[0].pid


class Reuse(SampleTestCase):
    def assert_same_ranks(self, run, *tests):
        self.assertEqual(1, len({pid_of(run, test) for test in tests}), tests)

    def assert_other_ranks(self, run, *tests):
        self.assertEqual(len(tests), len({pid_of(run, test) for test in tests}), tests)

    def check(self, run, start, status, reason="", *notes):
        """Check the one test whose name begins so; return its name."""
        (name,) = (name for name in run.entries if f".{start}" in name)
        entry = self.assert_status(run, name, status, reason)
        self.assertEqual(len(notes), len(entry.notes), entry.notes)
        for expected, found in zip(notes, entry.notes, strict=True):
            self.assertRegex(found, expected)
        return name

    def test_every_ending(self):
        error, failed, passed, skipped = TestStatus.ERROR, TestStatus.FAILED, TestStatus.PASSED, TestStatus.SKIPPED
        run = self.run_sample(ENDINGS, "--reuse-ranks", MARK=str(self.folder / "mark"))
        self.assertEqual(1, run.exit_code)
        first = self.check(run, "test_01", passed)
        self.assert_same_ranks(run, first, self.check(run, "test_02", passed))
        fails = self.check(run, "test_03", failed, "rank 1 failed: AssertionError")
        detail = run.entries[fails].detail
        self.assertIn("printed by the one that fails", detail)
        self.assertNotIn("of the first", detail)
        passes = self.check(run, "test_04", passed)
        self.assert_other_ranks(run, first, fails, passes)
        self.assert_same_ranks(run, passes, self.check(run, "test_05", passed))
        after = self.check(run, "test_06", passed)
        self.assert_same_ranks(run, after, self.check(run, "test_07", passed))
        killed = self.check(run, "test_08", error, "rank 1 .* died: killed by SIGKILL, without finishing its test")
        hangs = self.check(run, "test_09", error, "rank 1 still ran at the deadline, in test_09_hangs")
        self.assert_other_ranks(run, passes, after, killed, hangs)
        self.check(run, "test_10", skipped, "nobody wants this")
        self.check(run, "test_11", skipped, "needs at least 2 accelerators")
        left = "left in ranks 0, 1, so the next test gets new ranks: .*Linear.forward was replaced"
        patches = self.check(run, "test_12", passed, "", left)
        finds_none = self.check(run, "test_13", passed)
        self.assert_other_ranks(run, patches, finds_none)
        self.assert_same_ranks(run, finds_none, self.check(run, "test_14", passed))
        self.check(
            run, "test_15", passed, "", r"alone, failed after Endings.test_14\S* and 1 before it: state was left behind"
        )
        self.check(run, "test_16", passed)
        self.check(run, "test_17", passed, "", r"passed alone, skipped after Endings.test_16\S*: state was left behind")
        self.check(run, "test_18", TestStatus.EXPECTED_FAILURE)
        ended = "left in rank 1, .*: its process ended after the test, when its state was put back: exit code 3"
        self.check(run, "test_19", passed, "", ended)
        self.check(run, "test_20", passed, "", ended.replace("exit code 3", "killed by SIGKILL"))
        self.check(run, "test_21", passed, "", "STATE was changed", "/dev/shm/.* is open")
        self.assertTrue(wait_until(lambda: not Path("/dev/shm", (self.folder / "mark").read_text()).exists()))
        same = self.check(run, "test_1_has_the_same_ranks", passed)
        self.assert_other_ranks(run, same, self.check(run, "test_2_in_another_environment", passed), "More.test_1")

    def test_choices(self):
        run = self.run_sample(CHOICES)
        for name in ("Chosen", "OwnRun", "Pipes"):
            self.assert_same_ranks(run, f"{name}.test_1", f"{name}.test_2")
        for name in ("Alone", "Declined", "OwnCheck", "OwnProcesses"):
            self.assert_other_ranks(run, f"{name}.test_1", f"{name}.test_2")
        reason = "LaunchError: Neither.reuse_ranks must be True or False, not 'yes'"
        self.assert_status(run, "Neither.test_1", TestStatus.ERROR, reason)
        for line in (
            "Continuous.reuse_ranks is ignored: tests of this kind share their ranks anyway, with what they leave",
            "Threads.reuse_ranks is ignored: its ranks are threads",
            "ranks of OwnCheck are not reused: its _check_return_codes judges by how processes end",
            "ranks of OwnProcesses are not reused: it starts processes of its own kind",
        ):
            self.assertEqual(1, run.output.count(f"torch_testing_shim: {line}\n"), run.output)

    def test_ranks_that_wait(self):
        mark = self.folder / "mark"
        process = self.start([str(self.write_sample(WAITING)), "A", "B.test_waits"], MARK=str(mark))
        try:
            self.assertTrue(wait_until(mark.exists))
            ranks = [psutil.Process(int(path.name[4:])) for path in self.folder.glob("mark?*")]
            self.assertEqual(2, len(ranks))
            self.assertEqual([psutil.STATUS_SLEEPING] * 2, [rank.status() for rank in ranks])
            before = [sum(rank.cpu_times()) for rank in ranks]
            time.sleep(0.5)
            self.assertEqual(before, [sum(rank.cpu_times()) for rank in ranks])
        finally:
            process.kill()
        process.communicate()
        self.assertEqual([], self.processes_of_sample(2.0))

    def test_ranks_end_with_their_controller(self):
        sample = str(self.write_sample(WAITING))
        for end, code in (("exit", 3), (str(int(signal.SIGSEGV)), -11), (str(int(signal.SIGTERM)), 143), ("0", 0)):
            with self.subTest(end):
                run = self.run_command(sample, "A", "B.test_ends", MARK=str(self.folder / "mark"), END=end)
                self.assertEqual(code, run.exit_code, run.output)
                self.assertEqual(TestStatus.PASSED, run.entries["A.test_1"].status)
                self.assertEqual([], self.processes_of_sample(2.0))
        self.assert_nothing_left()  # the last run has removed what those before left that did not end by themselves

    def test_spawned(self):
        run = self.run_sample(CHOICES, "Chosen", TORCH_TESTING_SHIM_START_METHOD="spawn")
        self.assertEqual(0, run.exit_code, run.output)
        self.assert_same_ranks(run, "Chosen.test_1", "Chosen.test_2")
        self.assertNotIn("left in the test process", run.output)


if __name__ == "__main__":
    run_tests()
