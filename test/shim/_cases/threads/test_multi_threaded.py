"""Tests whose ranks are threads: each row of the verdict table, at once where nothing has to be waited for, and what
upstream's `MultiThreadedTestCase`, `spawn_threads_and_init_comms` and `DTensorOpTestBase` document."""

import sys
import threading
import time
import unittest
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from torch_testing_shim._engine.controller import RankError, RankFailure
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_distributed import MultiThreadedTestCase, spawn_threads_and_init_comms
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorOpTestBase, with_comms

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness_samples import SampleTestCase

#: No verdict may wait for this one's end, in seconds.
DEADLINE = 120

ENDINGS = """
class Threads(SpawningThreads):
    world_size = 4

class Bad(Threads):
    def test_alone_fails_while_others_wait(self):
        dist.barrier()
        self.assertNotEqual(self.rank, 1, "rank 1 is the guilty one")
        dist.barrier()

    def test_alone_raises_while_others_sleep(self):
        if self.rank == 1:
            raise ValueError("seen")
        time.sleep(600)

    def test_alone_skips(self):
        if self.rank == 1:
            self.skipTest("not for me")

    def test_alone_skips_while_others_wait(self):
        if self.rank == 1:
            self.skipTest("not for me")
        dist.barrier()

    def test_all_skip(self):
        self.skipTest("nobody wants this")

    @skip_if_lt_x_gpu(1000)
    def test_needs_more(self):
        raise RuntimeError("no rank may start")

    def test_exits_3(self):
        if self.rank == 1:
            sys.exit(3)
        dist.barrier()

    def test_exits_0_without_finishing(self):
        if self.rank == 1:
            sys.exit(0)

    def test_exits_with_a_skip_code(self):
        sys.exit(TEST_SKIPS["multi-gpu-2"].exit_code)

    def test_ends_while_others_wait(self):
        if self.rank != 1:
            dist.barrier()

    def test_all_wait_for_each_other(self):
        first, second = dist.new_group(), dist.new_group()
        dist.all_reduce(torch.ones(2), group=first if self.rank == 1 else second)

    def test_cleanup_fails(self):
        self.addCleanup(self.fail, "a cleanup that fails")

    @unittest.expectedFailure
    def test_expected_failure(self):
        self.assertEqual(self.rank, 0)

    @unittest.expectedFailure
    def test_unexpected_success(self):
        pass

class Hangs(Threads):
    def test_one_hangs(self):
        if self.rank == 1:
            time.sleep(600)
        dist.barrier()

    def test_that_comes_next(self):
        total = torch.tensor([self.rank])
        dist.all_reduce(total)
        self.assertEqual(total.item(), 6)

class SetUps(Threads):
    def perThreadSetUp(self):
        if self.rank == 1:
            raise ValueError("a set-up that fails")
        dist.barrier()

    def test_never_runs(self):
        raise RuntimeError("the test ran")

class TearDowns(Threads):
    def perThreadTearDown(self):
        raise ValueError("a tear-down that fails")

    def test_passes(self):
        pass

    def test_fails_first(self):
        self.fail("the test itself")

class NoRanks(Threads):
    world_size = 0
    def test_zero(self):
        raise RuntimeError("no rank may start")

class NotStarted(MultiThreadedTestCase):
    def test_nothing_was_started(self):
        pass
"""


class VerdictTable(SampleTestCase):
    def check(self, run, test, status, reason, *details):
        entry = self.assert_status(run, test, status, reason)
        for detail in details:
            self.assertIn(detail, entry.detail)

    def test_every_ending(self):
        error, failed, skipped = TestStatus.ERROR, TestStatus.FAILED, TestStatus.SKIPPED
        run = self.run_sample(ENDINGS, "Bad", "SetUps", "TearDowns", "NoRanks", "NotStarted",
                              DISTRIBUTED_TESTS_DEFAULT_TIMEOUT=str(DEADLINE),
                              TORCH_TESTING_SHIM_DEVICE="")  # fmt: skip
        self.assertEqual(1, run.exit_code)
        self.assertLess(run.seconds, DEADLINE)  # so nothing of this has waited for the deadline
        lost = "ranks 0, 2, 3 lost their connection to rank 1"
        alone = r"ranks disagree: rank 1 skipped \(not for me\), ranks 0, 2, 3"
        self.check(run, "Bad.test_alone_fails_while_others_wait", failed, "rank 1 failed: AssertionError", lost,
                   "rank 1 is the guilty one")  # fmt: skip
        self.check(run, "Bad.test_alone_raises_while_others_sleep", error, "rank 1 errored: ValueError: seen",
                   "ranks 0, 2, 3 still ran and had to be stopped")  # fmt: skip
        self.check(run, "Bad.test_alone_skips", error, f"{alone} passed")
        self.check(run, "Bad.test_alone_skips_while_others_wait", error, f"{alone} went on", lost)
        self.check(run, "Bad.test_all_skip", skipped, "nobody wants this")
        self.check(run, "Bad.test_needs_more", skipped, r"needs at least 1000 accelerators, found \d+$")
        self.check(run, "Bad.test_exits_3", error, r"rank 1 \(pid \d+\) died: exit code 3, without finishing", lost)
        self.check(run, "Bad.test_exits_0_without_finishing", error, "rank 1 .* died: exit code 0, without finishing")
        self.check(run, "Bad.test_exits_with_a_skip_code", skipped, "needs at least 2 accelerators")
        reason = (
            r"rank [023] errored: LostPeerError: barrier \(.*\) waits in vain for rank 1, which has ended \(passed\)"
        )
        self.check(run, "Bad.test_ends_while_others_wait", error, reason, "rank 1 passed")
        reason = r"deadlock: ranks 0-3 in all_reduce \(test_sample.py:\d+\)"
        self.check(run, "Bad.test_all_wait_for_each_other", error, reason,
                   "waiting for ranks 0, 2, 3 in all_reduce of [2] float32 by SUM (collective 1 of group 1)",
                   "stacks of ranks 0, 2, 3 when stopped:\nwaiting for rank 1 in", "in test_all_wait_for")  # fmt: skip
        self.check(run, "Bad.test_cleanup_fails", failed, "AssertionError: a cleanup that fails")
        self.check(run, "Bad.test_expected_failure", TestStatus.EXPECTED_FAILURE, "")
        self.check(run, "Bad.test_unexpected_success", TestStatus.UNEXPECTED_SUCCESS, "")
        self.check(run, "SetUps.test_never_runs", error, "rank 1 errored: ValueError: a set-up that fails", lost)
        self.assertNotIn("the test ran", run.output)
        self.check(run, "TearDowns.test_passes", error, "ValueError: a tear-down that fails")
        self.check(run, "TearDowns.test_fails_first", failed, "AssertionError: the test itself")
        self.check(run, "NoRanks.test_zero", skipped, r"needs at least 1 \w+, found 0: world_size is 0")
        self.check(run, "NotStarted.test_nothing_was_started", error, "no rank was started: setUp has to end with")

    def test_a_hang_ends_at_the_deadline_and_harms_no_other_test(self):
        run = self.run_sample(ENDINGS, "Hangs", DISTRIBUTED_TESTS_DEFAULT_TIMEOUT="3")
        self.assertEqual(1, run.exit_code)
        reason = (
            r"rank 1 still ran at the deadline, in test_one_hangs \(test_sample.py:\d+\); "
            r"ranks 0, 2, 3 waited in barrier \(test_sample.py:\d+\)"
        )
        self.check(run, "Hangs.test_one_hangs", TestStatus.ERROR, reason, "stacks of ranks 0, 2, 3", "stacks of rank 1")
        self.assertIn("torch_testing_shim: the thread of rank 1 did not end and could not be waited for", run.output)
        self.check(run, "Hangs.test_that_comes_next", TestStatus.PASSED, "")


class Documented(MultiThreadedTestCase):
    """Names that a test reaches, in its main thread and in its ranks."""

    world_size = 3

    def setUp(self):
        super().setUp()
        self.assertEqual(self.rank, self.MAIN_THREAD_RANK)
        self.assertEqual(-1, self.MAIN_THREAD_RANK)
        self._spawn_threads()
        self.assertEqual(3, len(self.threads))

    def tearDown(self):
        self.assertFalse(any(thread.is_alive() for thread in self.threads))
        self.assertFalse(dist.is_initialized())
        super().tearDown()
        self.assertEqual([], self.threads)

    def perThreadSetUp(self):
        self.was_set_up = dist.get_rank()

    def perThreadTearDown(self):
        if dist.is_initialized():
            raise RuntimeError("the process group is still there")

    def test_a_rank_is_an_instance_of_its_own_in_a_group(self):
        self.assertIn(self.rank, range(3))
        self.assertEqual(self.was_set_up, self.rank)
        self.assertEqual((dist.get_rank(), dist.get_world_size(), dist.get_backend()), (self.rank, 3, "threaded"))
        self.assertTrue(self.id().endswith("test_a_rank_is_an_instance_of_its_own_in_a_group"))
        self.global_store.set(f"rank {self.rank}", threading.current_thread().name)
        dist.barrier()
        names = {self.global_store.get(f"rank {rank}") for rank in range(3)}
        self.assertEqual(3, len(names))

    def test_backward_runs_in_the_rank(self):
        seen = []
        value = torch.ones(1, requires_grad=True)
        value.register_hook(lambda _: seen.append((threading.get_ident(), dist.get_rank())))
        (value * 2).sum().backward()
        self.assertEqual([(threading.get_ident(), self.rank)], seen)

    def test_a_group_is_used_from_another_thread(self):
        total = torch.tensor([self.rank])
        helper = threading.Thread(target=dist.all_reduce, args=(total,), kwargs={"group": dist.group.WORLD})
        helper.start()
        helper.join()
        self.assertEqual(3, total.item())


class Decorated(TestCase):
    def setUp(self):
        super().setUp()
        self.state = "set up"

    @spawn_threads_and_init_comms
    def test_bare(self):
        self.assertEqual(4, dist.get_world_size())
        self.assertEqual("set up", self.state)

    @spawn_threads_and_init_comms(world_size=2)
    def test_with_a_world_size(self):
        total = torch.ones(1)
        dist.all_reduce(total)
        self.assertEqual(2, total.item())

    def test_arguments_and_errors_pass_through(self):
        @spawn_threads_and_init_comms(world_size=2)
        def fails(self, guilty, *, word):
            dist.barrier()
            if dist.get_rank() == guilty:
                raise AssertionError(word)
            dist.barrier()

        with self.assertRaisesRegex(RankFailure, "^rank 1 failed: AssertionError: guilty\n") as caught:
            fails(self, 1, word="guilty")
        self.assertIsInstance(caught.exception, RuntimeError)  # as upstream's report is one
        self.assertFalse(dist.is_initialized())

    def test_unanimous_skip_and_timeout(self):
        @spawn_threads_and_init_comms(world_size=2)
        @unittest.skip("not wanted")
        def skipped(self):
            pass

        @spawn_threads_and_init_comms(world_size=2, timeout=0.5)
        def hangs(self):
            while dist.get_rank() == 0 and not over.is_set():
                time.sleep(0.01)

        over = threading.Event()
        with self.assertRaisesRegex(unittest.SkipTest, "not wanted"):
            skipped(self)
        with self.assertRaisesRegex(RankError, r"rank 0 still ran at the deadline, in hangs \(test_multi_threaded"):
            hangs(self)
        over.set()

    def test_no_rank_is_no_pass(self):
        with self.assertRaisesRegex(unittest.SkipTest, "world_size is 0"):
            spawn_threads_and_init_comms(world_size=0)(lambda self: None)(self)

    def test_nothing_stays_installed(self):
        world, hook = dist.distributed_c10d._world, sys.excepthook
        spawn_threads_and_init_comms(world_size=2)(lambda self: dist.barrier())(self)
        self.assertIs(world, dist.distributed_c10d._world)
        self.assertIs(hook, sys.excepthook)


class OperatorsOnDTensors(DTensorOpTestBase):
    @with_comms  # passes through: there is a process group already
    def test_an_operator_in_every_sharding(self):
        mesh = self.build_device_mesh()
        self.assertEqual(self.device_type, mesh.device_type)
        value = torch.arange(32.0).reshape(8, 4)
        for placement in (Shard(0), Shard(1), Replicate()):
            sharded = distribute_tensor(value, mesh, [placement])
            self.assertEqual((sharded @ sharded.t()).full_tensor(), value @ value.t())
            self.assertEqual(sharded.redistribute(mesh, [Shard(0)]).sum().full_tensor(), value.sum())

    def test_meshes_of_two_dimensions(self):
        mesh = dist.init_device_mesh(self.device_type, (2, 2), mesh_dim_names=("outer", "inner"))
        total = torch.tensor([self.rank])
        dist.all_reduce(total, group=mesh.get_group("inner"))
        self.assertEqual(total.item(), 1 if self.rank < 2 else 5)


if __name__ == "__main__":
    run_tests()
