"""Ranks started for real: forked, and spawned where forking is not safe. Test runs that are stopped or killed: see
`_program/test_interrupts.py`."""

import os
import sys
from pathlib import Path
from unittest import mock

from torch_testing_shim._engine.launcher import threads_per_rank
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

TWO_TESTS = """
class Two(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_passes(self):
        total = torch.ones(1)
        dist.all_reduce(total)
        self.assertEqual(total, torch.tensor([2.0]))

    def test_fails(self):
        self.assertEqual(self.rank, 0)
"""


class ForkOrSpawn(SampleTestCase):
    def check_outcomes(self, run):
        self.assertEqual(1, run.exit_code, run.output)
        self.assert_status(run, "Two.test_passes", TestStatus.PASSED)
        self.assert_status(run, "Two.test_fails", TestStatus.FAILED, "rank 1 failed: AssertionError")

    def test_forked_without_a_word(self):
        run = self.run_sample(TWO_TESTS, OMP_NUM_THREADS="2")  # which must not start threads before the fork
        self.check_outcomes(run)
        self.assertNotIn("torch_testing_shim:", run.output)

    def test_fork_insisted_on_where_it_is_not_safe(self):
        body = "import threading\nthreading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n" + TWO_TESTS
        run = self.run_sample(body, "Two.test_passes", TORCH_TESTING_SHIM_START_METHOD="fork")
        reason = "ranks cannot be forked: 2 threads are running in the test process"
        self.assert_status(run, "Two.test_passes", TestStatus.ERROR, reason)

    def test_a_matmul_in_an_earlier_test_does_not_matter(self):
        """The zygote is older than the first test, so that the threads of its matmul are not in the way."""
        run = self.run_sample(
            """
            class AFirst(TestCase):
                def test_matmul(self):
                    torch.set_num_threads(4)
                    torch.rand(512, 512) @ torch.rand(512, 512)
            """
            + "\n".join("            " + line for line in TWO_TESTS.splitlines())
        )
        self.check_outcomes(run)
        self.assert_status(run, "AFirst.test_matmul", TestStatus.PASSED)
        self.assertNotIn("torch_testing_shim:", run.output)

    def test_unknown_start_method(self):
        run = self.run_sample(TWO_TESTS, TORCH_TESTING_SHIM_START_METHOD="thread")
        self.assertEqual(2, run.exit_code)
        self.assertIn("TORCH_TESTING_SHIM_START_METHOD is 'thread'; it must be one of fork, spawn", run.output)
        self.assertNotIn("Traceback", run.output)

    def test_the_zygote_dies(self):
        body = """
        class Dies(DTensorTestBase):
            world_size = 2

            def test_a_kills_the_zygote(self):
                open(os.path.join(os.environ["TMPDIR"], f"here{self.rank}"), "w").close()
                if self.rank == 0:
                    while not os.path.exists(os.path.join(os.environ["TMPDIR"], "here1")):
                        time.sleep(0.01)
                    os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(60)

            def test_b_still_runs(self):
                pass
        """
        run = self.run_sample(body)
        reason = "the process that ranks are forked from died, and the ranks with it"
        self.assert_status(run, "Dies.test_a_kills_the_zygote", TestStatus.ERROR, reason)
        self.assert_status(run, "Dies.test_b_still_runs", TestStatus.PASSED)
        self.assertNotIn("spawned, not forked", run.output)


class TooFewDescriptors(SampleTestCase):
    """Processes run out likewise, which cannot be tried everywhere: their limit does not hold for root."""

    SAMPLE = """
    import resource

    class Many(DTensorTestBase):
        world_size = 8

        def setUp(self):
            if self._testMethodName == "test_a_few":
                limits = resource.getrlimit(resource.RLIMIT_NOFILE)
                self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
                resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 4, limits[1]))
            super().setUp()

        def test_a_few(self):
            pass

        def test_b_enough(self):
            pass
    """

    def test_one_sentence_and_the_next_test_runs(self):
        for method in ("fork", "spawn"):
            run = self.run_sample(self.SAMPLE, "-f", TORCH_TESTING_SHIM_START_METHOD=method)
            reason = (
                r"^LaunchError: no more ranks could be started \(Too many open files\); \d of 8 ranks were started$"
            )
            self.assert_status(run, "Many.test_a_few", TestStatus.ERROR, reason)
        run = self.run_sample(self.SAMPLE)
        self.assert_status(run, "Many.test_b_enough", TestStatus.PASSED)


class Threads(TestCase):
    def test_cores_are_divided_among_ranks(self):
        cores = len(os.sched_getaffinity(0))
        with mock.patch.dict(os.environ):
            os.environ.pop("OMP_NUM_THREADS", None)
            os.environ.pop("MKL_NUM_THREADS", None)
            self.assertEqual(cores, threads_per_rank(1))
            self.assertEqual(1, threads_per_rank(10 * cores))
            os.environ["OMP_NUM_THREADS"] = "3"
            self.assertIsNone(threads_per_rank(1))


if __name__ == "__main__":
    run_tests()
