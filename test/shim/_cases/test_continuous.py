"""Tests that share their ranks: each row of the verdict table and the test after it, what upstream's
`MultiProcContinuousTest` and `DTensorContinuousTestBase` document, and that nothing is left of the ranks."""

import os
import signal
import sys
import time
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase, wait_until

HEAD = """
from torch_testing_shim.common_distributed import MultiProcContinousTest, MultiProcContinuousTest
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorContinuousTestBase

class Kept(MultiProcContinuousTest):
    world_size = 3

    def all_are_there(self):
        total = torch.tensor([self.rank])
        dist.all_reduce(total)
        self.assertEqual(total.item(), 3)

    def pids(self):
        found = [None] * self.world_size
        dist.all_gather_object(found, os.getpid())
        return found
"""

# unittest runs a class's tests in the order of their names.
ENDINGS = (
    HEAD
    + """
from torch_testing_shim.common_distributed import TIMEOUT_OVERRIDE

TIMEOUT_OVERRIDE["test_11_hangs"] = 3  # seconds; its ranks run already

class Bad(Kept):
    def test_01_alone_fails_while_others_wait(self):
        dist.barrier()
        print("printed before it failed")
        self.assertNotEqual(self.rank, 1, "rank 1 is the guilty one")
        dist.barrier()

    def test_02_passes(self):
        print("printed by the test that passed")
        self.all_are_there()

    def test_03_is_killed(self):
        self.all_are_there()
        if self.rank == 1:
            print("about to die", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        dist.barrier()

    def test_04_exits_3(self):
        if self.rank == 1:
            os._exit(3)
        dist.barrier()

    def test_05_exits_3_politely(self):
        if self.rank == 1:
            sys.exit(3)

    def test_06_exits_0_without_finishing(self):
        if self.rank == 1:
            sys.exit(0)

    def test_07_alone_skips(self):
        if self.rank == 1:
            self.skipTest("not for me")

    def test_08_alone_skips_while_others_wait(self):
        if self.rank == 1:
            self.skipTest("not for me")
        dist.barrier()

    def test_09_all_skip(self):
        self.skipTest("nobody wants this")

    def test_10_all_skip_with_a_code(self):
        sys.exit(TEST_SKIPS["multi-gpu-2"].exit_code)

    def test_11_hangs(self):
        dist.barrier()  # all are connected
        if self.rank == 1:
            time.sleep(600)
        dist.barrier()

    def test_12_passes_after_the_hang(self):
        self.all_are_there()

    @unittest.expectedFailure
    def test_13_expected_failure(self):
        self.assertEqual(self.rank, 0)

    def test_14_cleanup_fails(self):
        self.addCleanup(self.fail, "a cleanup that fails")

    def test_15_closes_its_descriptors(self):
        if self.rank == 1:
            os.closerange(3, 4096)

    def test_16_forks_and_comes_back(self):
        if self.rank == 1 and os.fork() == 0:
            return
        self.all_are_there()

    def test_17_passes(self):
        self.all_are_there()

    def test_18_reduces_another_shape(self):
        dist.all_reduce(torch.ones(7 if self.rank == 1 else 3))

    def test_19_passes_at_the_end(self):
        self.all_are_there()
"""
)

SETTINGS = (
    HEAD
    + """
class SkipsTheStart(Kept):
    @classmethod
    def _init_pg(cls, rank, world_size, rdvz_file):
        sys.exit(TEST_SKIPS["multi-gpu-3"].exit_code)

    def test_one(self):
        raise RuntimeError("ran")

    def test_two(self):
        raise RuntimeError("ran")

class FailsTheStart(Kept):
    @classmethod
    def _init_pg(cls, rank, world_size, rdvz_file):
        if rank == 1:
            raise ValueError("no group today")
        super()._init_pg(rank, world_size, rdvz_file)

    def test_one(self):
        pass

class NoRanks(Kept):
    world_size = 0

    def test_zero(self):
        raise RuntimeError("no rank may start")

class NoBackend(Kept):
    @classmethod
    def backend_str(cls):
        return "mpi"

    def test_it(self):
        raise RuntimeError("no rank may start")

class Ends(Kept):
    @classmethod
    def _run(cls, rank, *arguments, **options):
        super()._run(rank, *arguments, **options)
        os._exit(5 if rank == 1 else 0)

    def test_passes(self):
        pass

class Stuck(Kept):
    def test_passes(self):
        self.all_are_there()

    def test_stuck(self):
        if self.rank != 1:
            dist.barrier()

class SetUpFails(Kept):
    def setUp(self):
        super().setUp()
        if self._testMethodName == "test_one":
            raise ValueError("after the ranks have begun")

    def test_one(self):
        time.sleep(0.2)

    def test_two(self):
        self.all_are_there()
"""
)

DOCUMENTED = (
    HEAD
    + """
import tempfile
from datetime import timedelta

class Shared(Kept):
    timeout = timedelta(seconds=17)

    @classmethod
    def opts(cls, high_priority_stream=False):
        cls.opts_were_asked_for = True
        return None

    @classmethod
    def _init_pg(cls, rank, world_size, rdvz_file):
        assert rdvz_file == cls.rdvz_file
        super()._init_pg(rank, world_size, rdvz_file)
        cls.started = getattr(cls, "started", 0) + 1

    def setUp(self):
        super().setUp()
        assert self.rank == self.MAIN_PROCESS_RANK == -1
        assert os.path.dirname(self.rdvz_file).startswith(tempfile.gettempdir())

    def test_a(self):
        self.assertEqual((dist.get_rank(), dist.get_world_size()), (self.rank, self.world_size))
        self.assertIn(self.rank, range(3))
        self.assertTrue(type(self).opts_were_asked_for)
        self.assertIs(self.pg, dist.group.WORLD)
        self.assertEqual(self.pg._get_backend(torch.device("cpu")).options._timeout, timedelta(seconds=17))
        self.assertEqual((self.device, type(self).device_type()), (torch.device("cpu"), "cpu"))
        self.assertTrue(self.id().endswith("Shared.test_a"))
        type(self).kept = self.pids()
        self.assertEqual(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(1234)))

    def test_b_has_the_same_ranks(self):
        self.assertEqual((self.pids(), self.started), (self.kept, 1))
        self.assertEqual(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(1234)))

    def test_c_skips(self):
        self.skipTest("all do")

    def test_d_has_the_same_ranks(self):
        self.test_b_has_the_same_ranks()

    def test_e_fails(self):
        self.fail()

    def test_f_has_others(self):
        self.assertFalse(hasattr(self, "kept"))
        self.assertEqual(self.started, 1)

class OldSpelling(MultiProcContinousTest):
    @property
    def world_size(self):
        return RANKS

    @property
    def device_type(self):
        return "cpu"

    @classmethod
    def backend_str(cls):
        return "gloo"

    def test_it(self):
        self.device = "set by the test"
        self.assertEqual((dist.get_world_size(), dist.get_backend()), (RANKS, "gloo"))

class Unset(MultiProcContinuousTest):
    def test_has_four_on_the_cpu(self):
        self.assertEqual((self.world_size, dist.get_world_size()), (4, 4))

class DTensors(DTensorContinuousTestBase):
    world_size = 2

    def test_helpers(self):
        from torch.distributed.tensor import Shard, distribute_tensor
        mesh = self.build_device_mesh()
        self.assertEqual((mesh.size(), mesh.device_type, self.device_type), (2, "cpu", "cpu"))
        if hasattr(self, "_test_op_on_dtensor"):  # torch 2.6 has none
            self._test_op_on_dtensor(torch.add, distribute_tensor(torch.ones(4), mesh, [Shard(0)]), 1)
        self.init_manual_seed_for_rank()
        self.assertEqual(torch.initial_seed(), self.rank)
        seen = []
        self.run_subtests({"value": [1, 2]}, lambda value: seen.append(value))
        self.assertEqual(seen, [1, 2])
        self.assertFalse(self.is_local_tensor_enabled)
"""
)

SLEEPER = (
    HEAD
    + """
class Sleeper(Kept):
    def test_sleeps(self):
        open(os.path.join(os.environ["MARKS"], str(self.rank)), "w").close()
        time.sleep(600)
"""
)


class VerdictTable(SampleTestCase):
    def check(self, run, method, status, reason, *details):
        entry = self.assert_status(run, method, status, reason)
        for detail in details:
            self.assertIn(detail, entry.detail)
        return entry

    def test_every_ending(self):
        error, failed, passed, skipped = TestStatus.ERROR, TestStatus.FAILED, TestStatus.PASSED, TestStatus.SKIPPED
        run = self.run_sample(ENDINGS, DISTRIBUTED_TESTS_DEFAULT_TIMEOUT="8", TORCH_TESTING_SHIM_STALL_SECONDS="0")
        self.assertEqual(1, run.exit_code)
        lost = "ranks 0, 2 lost their connection to rank 1"
        alone = r"ranks disagree: rank 1 skipped \(not for me\), ranks 0, 2"
        silent = "without finishing its test"
        self.check(run, "Bad.test_01_alone_fails_while_others_wait", failed, "rank 1 failed: AssertionError", lost,
                   "rank 1 is the guilty one", "[ranks 0-2] printed before it failed")  # fmt: skip
        self.check(run, "Bad.test_02_passes", passed, "")
        entry = self.check(run, "Bad.test_03_is_killed", error, f"rank 1 .* died: killed by SIGKILL, {silent}", lost,
                           "[rank 1] about to die")  # fmt: skip
        self.assertNotIn("printed by the test that passed", entry.detail)  # each test has its own output
        self.check(run, "Bad.test_04_exits_3", error, rf"rank 1 .* died: exit code 3, {silent}", lost)
        self.check(run, "Bad.test_05_exits_3_politely", error, rf"rank 1 .* died: exit code 3, {silent}")
        self.check(run, "Bad.test_06_exits_0_without_finishing", error, rf"rank 1 .* died: exit code 0, {silent}")
        self.check(run, "Bad.test_07_alone_skips", error, f"{alone} passed")
        self.check(run, "Bad.test_08_alone_skips_while_others_wait", error, f"{alone} went on", lost)
        self.check(run, "Bad.test_09_all_skip", skipped, "nobody wants this")
        self.check(run, "Bad.test_10_all_skip_with_a_code", skipped, "needs at least 2 accelerators")
        reason = r"rank 1 still ran at the deadline, in test_11_hangs \(test_sample.py:\d+\); ranks 0, 2 "
        self.check(run, "Bad.test_11_hangs", error, reason, "stacks of rank 1 when stopped", "in test_11_hangs\n")
        self.check(run, "Bad.test_12_passes_after_the_hang", passed, "")
        self.check(run, "Bad.test_13_expected_failure", TestStatus.EXPECTED_FAILURE, "")
        self.check(run, "Bad.test_14_cleanup_fails", failed, "AssertionError: a cleanup that fails")
        self.check(run, "Bad.test_15_closes_its_descriptors", error, "rank 1")
        self.check(run, "Bad.test_16_forks_and_comes_back", passed, "")
        self.check(run, "Bad.test_17_passes", passed, "")
        reason = r"rank 1 entered all_reduce of \[7\] as collective \d of the default group, ranks 0, 2 entered "
        self.check(run, "Bad.test_18_reduces_another_shape", error, reason)
        self.check(run, "Bad.test_19_passes_at_the_end", passed, "")
        self.assertNotIn("left in the test process", run.output)

    def test_starts_and_ends_that_do_not_go_well(self):
        run = self.run_sample(SETTINGS, TORCH_TESTING_SHIM_STALL_SECONDS="1")
        error, skipped = TestStatus.ERROR, TestStatus.SKIPPED
        for method in ("test_one", "test_two"):
            self.check(run, f"SkipsTheStart.{method}", skipped, "needs at least 3 accelerators")
        self.check(run, "FailsTheStart.test_one", error, "rank 1 errored: ValueError: no group today")
        self.check(run, "NoRanks.test_zero", skipped, "needs at least 1 cpu, found 0: world_size is 0")
        self.check(run, "NoBackend.test_it", skipped, "the backend mpi is not available")
        self.check(run, "SetUpFails.test_one", error, "ValueError: after the ranks have begun")
        self.check(run, "SetUpFails.test_two", TestStatus.PASSED, "")
        self.check(run, "Ends.test_passes", TestStatus.PASSED, "")
        self.check(run, "Ends.tearDownClass", error, "^rank 1 ended with exit code 5 after the last test of the class")
        reason = r"deadlock: ranks 0, 2 in barrier \(test_sample.py:\d+\); rank 1 had ended"  # long before the deadline
        self.check(run, "Stuck.test_stuck", error, reason, "rank 1 passed", "stacks of ranks 0, 2")
        self.check(run, "Stuck.test_passes", TestStatus.PASSED, "")


class Documented(SampleTestCase):
    def test_what_tests_reach(self):
        run = self.run_sample(DOCUMENTED)
        statuses = {name: entry.status for name, entry in run.entries.items() if entry.status is not TestStatus.PASSED}
        expected = {"Shared.test_c_skips": TestStatus.SKIPPED, "Shared.test_e_fails": TestStatus.FAILED}
        self.assertTrue(statuses == expected, run.output)
        self.assertEqual(9, len(run.entries), run.output)

    def test_a_single_test_under_pytest(self):
        path = str(self.write_sample(DOCUMENTED))
        run = self.run_command("-m", "pytest", "-q", path, "-k", "test_f_has", "-p", "no:cacheprovider")
        self.assertIn("1 passed, 8 deselected", run.output)
        self.assert_nothing_left()


class NothingIsLeft(SampleTestCase):
    def start_sleeper(self):
        marks = self.folder / "marks"
        marks.mkdir()
        process = self.start([str(self.write_sample(SLEEPER))], MARKS=str(marks))
        self.assertTrue(wait_until(lambda: len(list(marks.iterdir())) == 3))
        return process

    def test_of_a_run_that_is_interrupted(self):
        process = self.start_sleeper()
        process.send_signal(signal.SIGINT)
        run = self.finish(process, time.monotonic())
        self.assertEqual(130, run.exit_code, run.output)
        self.assert_nothing_left()

    def test_of_a_controller_that_is_killed(self):
        process = self.start_sleeper()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        self.assertEqual([], self.processes_of_sample())
        # The next run removes the scratch folder; its ranks are spawned, the other way to start them.
        run = self.run_sample(DOCUMENTED, "OldSpelling", RANKS="1", TORCH_TESTING_SHIM_START_METHOD="spawn")
        self.assert_status(run, "OldSpelling.test_it", TestStatus.PASSED)


if __name__ == "__main__":
    run_tests()
