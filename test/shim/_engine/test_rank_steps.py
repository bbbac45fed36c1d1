"""A test in its rank, step by step: unittest's rules of subtests hold in ranks of every kind."""

import re
import sys
import unittest
from pathlib import Path

from torch_testing_shim._engine.outcome import RankStatus
from torch_testing_shim._engine.rank_steps import NO_MESSAGE, RankSteps, current_steps, end_after_failed_subtests
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

SAMPLE = """
from torch_testing_shim.common_distributed import (
    MultiProcContinuousTest, MultiThreadedTestCase, spawn_threads_and_init_comms
)
from unittest import mock

class Unprintable(Exception):
    def __repr__(self):
        raise RuntimeError("no repr")

    def __getattr__(self, name):
        raise RuntimeError("no attribute")

class Steps:
    world_size = RANKS

    def meet(self):
        if dist.is_initialized():  # or else a rank that fails at once cuts off one that still connects
            dist.barrier()

    def test_01_goes_on_after_a_skip_and_a_failure(self):
        self.meet()
        for i in range(5):
            with self.subTest(i=i):
                if i == 1:
                    self.skipTest("not for 1")
                self.assertNotEqual(i, 2)
                if i == 3:
                    raise ValueError("three")
        print("came to the end")

    def test_02_an_exception_comes_after_it(self):
        self.meet()
        with self.subTest("message", x="y"), self.subTest("inner", j=1):
            self.fail("inside")
        raise KeyError("after")

    def test_03_one_subtest_skips(self):
        for i in range(2):
            with self.subTest(i=i):
                if i == 1:
                    self.skipTest("not for 1")

    def test_04_all_subtests_skip(self):
        for i in range(2):
            with self.subTest(i=i):
                self.skipTest("nobody wants this")

    def test_05_one_rank_skips_one(self):
        for i in range(2):
            with self.subTest(i=i):
                if i == 1 and self.rank == 1:
                    self.skipTest("not for me")

    @unittest.expectedFailure
    def test_06_expected(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertEqual(i, 0)
                self.assertNotEqual(i, 2, "the first that fails is the last")

    @unittest.expectedFailure
    def test_07_not_expected(self):
        with self.subTest(i=1):
            pass

    def test_08_of_one_rank(self):
        for i in range(2):
            with self.subTest(i=i):
                self.assertFalse(self.rank == 1 and i == 1, "rank 1 is the guilty one")

    def test_09_exits_after_it(self):
        with self.subTest(i=1):
            self.fail("before the exit")
        sys.exit(TEST_SKIPS["generic"].exit_code)

    def test_09_exits_in_a_cleanup(self):
        if self.rank == 1:
            self.addCleanup(sys.exit, 0)

    def test_09_replaces_functions(self):
        if self.rank == 1:
            for name in ("os.getpid", "os.write", "time.monotonic", "json.dumps", "linecache.getlines"):
                replaced = mock.patch(name, side_effect=RuntimeError(f"{name} is not there"))
                replaced.start()
                self.addCleanup(replaced.stop)
            with self.subTest(value=Unprintable()):
                pass
            raise Unprintable("while they are replaced")

    def test_10_hangs_after_it(self):
        with self.subTest(i=1):
            self.assertNotEqual(self.rank, 1, "before the hang")
        time.sleep(1000)

    def test_11_skips_after_it(self):
        with self.subTest(i=1):
            self.fail("before the skip")
        self.skipTest("too late")

    def test_12_passes(self):
        with self.subTest():
            pass

def passes(self):
    pass

setattr(Steps, "test_12.5 has dots\\nand lines", passes)

class Processes(Steps, Spawning):
    def test_13_is_killed_after_it(self):
        with self.subTest(i=1):
            self.assertNotEqual(self.rank, 1, "before its death")
        if self.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

class Kept(Steps, MultiProcContinuousTest):
    @classmethod
    def backend_str(cls):
        return "gloo"

class Threads(Steps, SpawningThreads): pass

class Decorated(unittest.TestCase):
    @spawn_threads_and_init_comms(world_size=2)
    def test_it(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertNotEqual(i, dist.get_rank())

    def test_subtests_of_unittest(self):
        with self.subTest(i=1):
            pass

class InComms(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_ranks_part(self):
        for i in range(2):
            with self.subTest(i=i):
                self.assertFalse(self.rank == 0 and i == 1, "rank 0 parts")
                dist.all_reduce(torch.ones(1))

    @with_comms
    def test_child_raises(self):
        if os.fork() == 0:
            raise RuntimeError("in the child")
        self.assertEqual(os.waitstatus_to_exitcode(os.wait()[1]), 1)
        dist.barrier()
        print("rank goes on")

class Children(TestCase):
    def setUp(self):
        super().setUp()
        self.fork_and_raise()
        self.addCleanup(self.fork_and_raise)

    def tearDown(self):
        self.fork_and_raise()
        super().tearDown()

    def fork_and_raise(self):
        if os.fork() == 0:
            raise RuntimeError("in the child")
        os.wait()

    @with_temp_dir
    def test_child_returns(self):
        if os.fork() == 0:
            return
        self.assertEqual(os.waitstatus_to_exitcode(os.wait()[1]), 0)
        self.assertTrue(os.path.isdir(self.temp_dir))

    def test_child_exits(self):
        if os.fork() == 0:
            sys.exit("some text")
        self.assertEqual(os.waitstatus_to_exitcode(os.wait()[1]), 1)
"""

IN_SUBTEST = r"rank [01] failed in subtest \(i={}\): AssertionError: "


class Subtests(SampleTestCase):
    def check(self, run, kind, *, with_hang=True):
        entry = self.assert_status(
            run, f"{kind}.test_01_goes_on_after_a_skip_and_a_failure", TestStatus.FAILED, IN_SUBTEST.format(2)
        )
        self.assertIn("ranks 0, 1, subtest (i=2):\nTraceback", entry.detail)
        self.assertIn("ranks 0, 1, subtest (i=3), too:\nTraceback", entry.detail)
        entry = self.assert_status(
            run,
            f"{kind}.test_02_an_exception_comes_after_it",
            TestStatus.FAILED,
            r"rank [01] failed in subtest \[inner\] \(j=1, x='y'\): AssertionError: inside",
        )
        self.assertRegex(entry.detail, r"(?s)ranks 0, 1, too:\nTraceback.*KeyError: 'after'")
        self.assert_status(run, f"{kind}.test_03_one_subtest_skips", TestStatus.PASSED)
        self.assert_status(run, f"{kind}.test_04_all_subtests_skip", TestStatus.SKIPPED, "^nobody wants this$")
        self.assert_status(
            run,
            f"{kind}.test_05_one_rank_skips_one",
            TestStatus.ERROR,
            r"^ranks disagree: rank 1 skipped subtest \(i=1\) \(not for me\), rank 0 passed it$",
        )
        self.assert_status(run, f"{kind}.test_06_expected", TestStatus.EXPECTED_FAILURE)
        self.assert_status(run, f"{kind}.test_07_not_expected", TestStatus.UNEXPECTED_SUCCESS)
        entry = self.assert_status(
            run, f"{kind}.test_08_of_one_rank", TestStatus.FAILED, r"^rank 1 failed in subtest \(i=1\): .*guilty"
        )
        self.assertIn("rank 0 passed", entry.detail)
        self.assert_status(run, f"{kind}.test_09_exits_after_it", TestStatus.FAILED, IN_SUBTEST.format(1))
        exits = r"^rank 1 .*died: exit code 0, without finishing its test$"
        self.assert_status(run, f"{kind}.test_09_exits_in_a_cleanup", TestStatus.ERROR, exits)
        raised = "^rank 1 errored: Unprintable: while they are replaced$"
        entry = self.assert_status(run, f"{kind}.test_09_replaces_functions", TestStatus.ERROR, raised)
        self.assertRegex(entry.detail, r'File ".*test_sample.*", line \d+, in test_09_replaces_functions\n')
        self.assert_status(run, f"{kind}.test_11_skips_after_it", TestStatus.FAILED, IN_SUBTEST.format(1))
        self.assert_status(run, f"{kind}.test_12_passes", TestStatus.PASSED)
        self.assert_status(run, f"{kind}.test_12.5 has dots\nand lines", TestStatus.PASSED)
        if with_hang:
            hung = self.assert_status(
                run, f"{kind}.test_10_hangs_after_it", TestStatus.FAILED, r"^rank 1 failed in subtest \(i=1\): "
            )
            self.assertIn("ranks 0, 1 still ran at the deadline", hung.detail)

    def test_ranks_of_every_kind(self):
        shares = (["Processes"], ["Kept"], ["Threads", "Decorated", "InComms", "Children"])
        run = self.run_side_by_side(SAMPLE, *shares, DISTRIBUTED_TESTS_DEFAULT_TIMEOUT="4")
        for kind in ("Processes", "Kept", "Threads"):
            self.check(run, kind)
        killed = self.assert_status(
            run, "Processes.test_13_is_killed_after_it", TestStatus.FAILED, r"^rank 1 failed in subtest \(i=1\): "
        )
        self.assertIn("rank 1 died: killed by SIGKILL", killed.detail)
        decorated = self.assert_status(run, "Decorated.test_it", TestStatus.FAILED, IN_SUBTEST.format("[01]"))
        for rank in (0, 1):
            self.assertIn(f"rank {rank}, subtest (i={rank})", decorated.detail)
        self.assert_status(run, "Decorated.test_subtests_of_unittest", TestStatus.PASSED)
        parted = self.assert_status(
            run, "InComms.test_ranks_part", TestStatus.FAILED, r"^rank 0 failed in subtest \(i=1\): .*rank 0 parts"
        )
        self.assertLess(parted.seconds, 3.5)
        for name in ("InComms.test_child_raises", "Children.test_child_returns", "Children.test_child_exits"):
            self.assert_status(run, name, TestStatus.PASSED)
        self.assertEqual(len(shares), run.output.count("Ran "), "a child has gone on")

    def test_spawned_ranks_that_stop_at_the_first(self):
        names = ["test_01_goes_on_after_a_skip_and_a_failure", "test_08_of_one_rank"]
        for environment in ({"TORCH_TESTING_SHIM_START_METHOD": "spawn", "RANKS": "1"}, {}):
            for kind in ("Kept", "Threads") if not environment else ("Processes",):
                run = self.run_sample(SAMPLE, "--failfast", *(f"{kind}.{name}" for name in names), **environment)
                entry = self.assert_status(run, f"{kind}.{names[0]}", TestStatus.FAILED, IN_SUBTEST.format(2))
                self.assertNotIn("(i=3)", entry.detail)
                self.assertNotIn(f"{kind}.{names[1]}", run.entries)

    def test_under_pytest(self):
        path = self.write_sample(SAMPLE)
        chosen = "(Processes or Kept or Threads) and not 09 and not 10"
        run = self.run_command("-m", "pytest", "-q", "-rfExX", "-p", "no:cacheprovider", str(path), "-k", chosen)
        self.assertRegex(run.output, r"rank [01] failed in subtest \(i=2\)")
        self.assertEqual(
            "19 failed, 9 passed, 3 skipped, 18 deselected, 3 xfailed", re.search(r"\d+ failed.*xfailed", run.output)[0]
        )


class Steps(TestCase):
    def taken(self, *steps, **options):
        told = []
        found = RankSteps(3, tell=told.append, tell_subtest=told.append, **options)
        return found.take(steps), told, found

    def raises(self, error):
        def step():
            raise error

        return step

    def test_each_step_is_taken(self):
        seen = []
        outcome, told, _ = self.taken(
            self.raises(ValueError("first")), lambda: seen.append(1), self.raises(KeyError(2))
        )
        self.assertEqual([1], seen)
        self.assertEqual((RankStatus.ERRORED, "ValueError: first"), (outcome.status, outcome.headline))
        self.assertEqual(["ValueError: first"], [one.headline for one in told])

    def test_an_exception_counts_more_than_a_skip(self):
        outcome, told, _ = self.taken(self.raises(unittest.SkipTest("why")), self.raises(AssertionError("no")))
        self.assertIs(RankStatus.FAILED, outcome.status)
        self.assertEqual([RankStatus.SKIPPED, RankStatus.FAILED], [one.status for one in told])

    def test_exit_codes(self):
        self.assertEqual(86, self.taken(self.raises(SystemExit(86)))[0].exit_code)
        for code in (2**40, 86.0, "86", None):
            with self.assertRaises(SystemExit) as caught:
                self.taken(self.raises(SystemExit(code)))
            self.assertIs(code, caught.exception.code)
        worse = self.taken(self.raises(SystemExit(3)), self.raises(AssertionError("no")))[0]
        self.assertIs(RankStatus.FAILED, worse.status)

    def test_steps_that_end_badly_themselves(self):
        def steps():
            yield lambda: None
            raise ValueError("between")

        self.assertEqual("ValueError: between", RankSteps(0).take(steps()).headline)

    def test_names_of_subtests(self):
        def body():
            steps = current_steps()
            for message, parameters in ((NO_MESSAGE, {}), ("m", {}), (None, {"i": 1}), ("m", {"i": "x", "j": 2})):
                with steps.subtest(message, parameters):
                    raise AssertionError
            with steps.subtest(NO_MESSAGE, {"i": 1, "j": 2}), steps.subtest(NO_MESSAGE, {"k": 3, "i": 4}):
                raise AssertionError

        outcome, told, steps = self.taken(body)
        names = ["(<subtest>)", "[m]", "[None] (i=1)", "[m] (i='x', j=2)", "(k=3, i=4, j=2)"]
        self.assertEqual(names, [one.subtest for one in steps.subtests])
        self.assertEqual(names[0], outcome.subtest)
        self.assertEqual([*names, names[0]], [one.subtest for one in told])

    def test_a_rank_with_failed_subtests_waits_for_nobody(self):
        seen = []

        def body():
            end_after_failed_subtests()
            with current_steps().subtest(NO_MESSAGE, {}):
                raise AssertionError
            end_after_failed_subtests()
            seen.append("cleans up")

        self.assertIs(RankStatus.FAILED, self.taken(body)[0].status)
        self.assertEqual([], seen)

    def test_the_last_subtest(self):
        seen = []

        def body():
            with current_steps().subtest(NO_MESSAGE, {}, is_last=True):
                seen.append("first")
            with current_steps().subtest(NO_MESSAGE, {}, is_last=True):
                raise AssertionError
            seen.append("more")

        self.taken(body)
        self.assertEqual(["first"], seen)

    def test_of_many_subtests_some_are_told(self):
        def body():
            for i in range(2000):
                with current_steps().subtest(NO_MESSAGE, {"i": i}):
                    raise AssertionError

        _, _, steps = self.taken(body)
        self.assertEqual(1000, len(steps.subtests))
        self.assertEqual(100, sum(bool(one.traceback) for one in steps.subtests))


if __name__ == "__main__":
    run_tests()
