"""Verdicts over real ranks: each row of the verdict table happens, none comes out as a pass, and the report names the
rank and the cause; and what else upstream's `MultiProcessTestCase` documents."""

from harness_samples import SampleTestCase

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

BAD_ENDINGS = """
import ctypes
from torch_testing_shim.common_distributed import TIMEOUT_OVERRIDE

# In seconds. The first has to start its group before.
TIMEOUT_OVERRIDE.update({"test_hangs": 4, "test_hangs_on_all_ranks": 2, "test_stops_itself": 2})

class Bad(DTensorTestBase):
    @with_comms
    def test_exits_3(self):
        dist.barrier()  # all are connected
        if self.rank == 1:
            os._exit(3)
        dist.barrier()

    @with_comms
    def test_exits_3_politely(self):
        dist.barrier()  # all are connected
        if self.rank == 1:
            sys.exit(3)
        dist.barrier()

    @with_comms
    def test_killed(self):
        dist.barrier()  # all are connected
        if self.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        dist.barrier()

    @with_comms
    def test_segfaults(self):
        dist.barrier()  # all are connected
        if self.rank == 1:
            print("about to crash", flush=True)
            ctypes.string_at(0)
        dist.barrier()

    def test_exits_0_without_finishing(self):
        if self.rank == 1:
            os._exit(0)

    def test_exits_0_politely_without_finishing(self):
        if self.rank == 1:
            sys.exit(0)

    def test_alone_skips(self):
        if self.rank == 1:
            self.skipTest("not for me")

    @with_comms
    def test_alone_skips_while_others_wait(self):
        dist.barrier()  # all are connected
        if self.rank == 1:
            self.skipTest("not for me")
        dist.barrier()

    @with_comms
    def test_alone_fails_while_others_wait(self):
        dist.barrier()  # all are connected
        self.assertNotEqual(self.rank, 1, "rank 1 is the guilty one")
        dist.barrier()

    @with_comms
    def test_hangs(self):
        dist.barrier()  # all are connected
        if self.rank == 1:
            time.sleep(600)
        dist.barrier()

    def test_hangs_on_all_ranks(self):
        time.sleep(600)

    def test_all_skip(self):
        self.skipTest(f"nobody wants this")

    def test_crashes_after_a_pass(self):
        if self.rank == 1:
            self.addCleanup(os.kill, os.getpid(), signal.SIGSEGV)

    def test_unpicklable_exception(self):
        class Local(Exception):
            def __init__(self, first, second):
                super().__init__(first)
                self.lambda_ = lambda: second
        if self.rank == 1:
            raise Local("cannot be pickled", 2)

    def test_output_that_is_no_text(self):
        os.write(1, b"\\xff\\xfe before\\n")
        if self.rank == 1:
            raise ValueError("caf\\u00e9 \\ud800")

    def test_closes_its_descriptors(self):
        if self.rank == 1:
            os.closerange(3, 4096)

    def test_stops_itself(self):
        if self.rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)

    def test_passes(self):
        print("nothing to see")

class BadOfTwo(Bad):
    world_size = 2

class NoRanks(DTensorTestBase):
    world_size = 0
    def test_zero(self):
        pass

class HalfARank(DTensorTestBase):
    world_size = 2.5
    def test_half(self):
        pass
"""


class VerdictTable(SampleTestCase):
    def check(self, run, method, status, reason, *details):
        entry = self.assert_status(run, f"Bad.{method}", status, reason)
        for detail in details:
            self.assertIn(detail, entry.detail)

    def check_deaths(self, run):
        error, lost = TestStatus.ERROR, "ranks 0, 2, 3 lost their connection to rank 1"
        silent = "without finishing its test"
        self.check(run, "test_exits_3", error, rf"rank 1 \(pid \d+\) died: exit code 3, {silent}", lost)
        self.check(run, "test_exits_3_politely", error, rf"rank 1 \(pid \d+\) died: exit code 3, {silent}", lost)
        self.check(run, "test_killed", error, rf"rank 1 \(pid \d+\) died: killed by SIGKILL, {silent}", lost)
        self.check(
            run,
            "test_segfaults",
            error,
            r"rank 1 .* died: killed by SIGSEGV",
            lost,
            "[rank 1] about to crash",
            "string_at",
        )
        for method in ("test_exits_0_without_finishing", "test_exits_0_politely_without_finishing"):
            self.check(run, method, error, rf"rank 1 .* died: exit code 0, {silent}", "ranks 0, 2, 3 passed")
        self.check(run, "test_crashes_after_a_pass", error, "rank 1 .* died: killed by SIGSEGV")
        self.check(run, "test_closes_its_descriptors", error, "rank 1")

    def check_disagreements(self, run):
        error = TestStatus.ERROR
        alone = r"ranks disagree: rank 1 skipped \(not for me\), ranks 0, 2, 3"
        self.check(run, "test_alone_skips", error, f"{alone} passed")
        self.check(run, "test_alone_skips_while_others_wait", error, f"{alone} went on")
        lost = "ranks 0, 2, 3 lost their connection to rank 1"
        self.check(run, "test_alone_fails_while_others_wait", TestStatus.FAILED, "rank 1 failed: AssertionError", lost)
        self.assertRegex(run.entries["Bad.test_alone_fails_while_others_wait"].detail, "rank 1 is the guilty one")
        self.check(run, "test_unpicklable_exception", error, "rank 1 errored: .*Local: cannot be pickled")
        self.check(run, "test_output_that_is_no_text", error, "rank 1 errored: ValueError: caf", "before")

    def check_hangs(self, run):
        reason = r"rank 1 still ran at the deadline, in test_hangs \(test_sample.py:\d+\); ranks 0, 2, 3 had ended"
        self.check(run, "test_hangs", TestStatus.ERROR, reason, "stacks of rank 1", "in test_hangs\n")
        reason = "ranks 0-3 still ran at the deadline"
        self.check(run, "test_hangs_on_all_ranks", TestStatus.ERROR, reason, "stacks of ranks 0-3", "in test_hangs_on")
        self.check(
            run, "test_stops_itself", TestStatus.ERROR, "rank 1 still ran at the deadline; ranks 0, 2, 3 had ended"
        )

    def check_starts_no_rank(self, run):
        self.check(run, "test_all_skip", TestStatus.SKIPPED, "nobody wants this")
        self.check(run, "test_passes", TestStatus.PASSED, "")
        self.assert_status(
            run, "NoRanks.test_zero", TestStatus.SKIPPED, "needs at least 1 cpu, found 0: world_size is 0"
        )
        reason = r"LaunchError: world_size must be a positive int, not 2\.5"
        self.assert_status(run, "HalfARank.test_half", TestStatus.ERROR, reason)

    def test_forked_ranks(self):
        hangs = ["Bad.test_hangs", "Bad.test_hangs_on_all_ranks", "Bad.test_stops_itself"]
        others = ["Bad", "NoRanks", "HalfARank", *(word for name in hangs for word in ("--exclude-test", name))]
        run = self.run_side_by_side(BAD_ENDINGS, hangs, others)
        self.assertEqual(1, run.exit_code)
        self.check_deaths(run)
        self.check_disagreements(run)
        self.check_hangs(run)
        self.check_starts_no_rank(run)
        self.assertNotIn("spawned, not forked", run.output)

    def test_a_spawned_rank_that_dies_gives_the_same_verdict(self):
        chosen = "BadOfTwo.test_segfaults"  # one, since each rank imports torch
        run = self.run_sample(BAD_ENDINGS, chosen, TORCH_TESTING_SHIM_START_METHOD="spawn")
        self.assertEqual(1, run.exit_code)
        segfaults = self.assert_status(run, chosen, TestStatus.ERROR, r"rank 1 .* died: killed by SIGSEGV")
        self.assertIn("about to crash", segfaults.detail)


class Documented(SampleTestCase):
    def test_what_tests_reach(self):
        run = self.run_sample(
            """
            class Reach(MultiProcessTestCase):
                world_size = 3
                fake_pg = True

                def setUp(self):
                    super().setUp()
                    assert self.rank == self.MAIN_PROCESS_RANK == -1
                    self._spawn_processes()
                    assert [p.rank for p in self.processes] == [0, 1, 2]
                    ended = (None, 0, 10, TEST_SKIPS["multi-gpu-2"].exit_code)  # on a loaded machine some have
                    assert all(p.pid and p.exitcode in ended for p in self.processes)

                def tearDown(self):
                    super().tearDown()
                    assert all(p.exitcode is not None for p in self.processes)

                @classmethod
                def _run(cls, rank, test_name, file_name, parent_pipe, **kwargs):
                    self = cls(test_name)
                    self.rank, self.file_name, self.kwargs = rank, file_name, kwargs
                    self.run_test(test_name, parent_pipe)

                def test_attributes(self):
                    self.assertIn(self.rank, range(3))
                    self.assertEqual(self.is_master, self.rank == 0)
                    self.assertEqual(self.kwargs, {"fake_pg": True})
                    self.assertTrue(self.id().endswith("Reach.test_attributes"))
                    store = dist.FileStore(self.file_name, self.world_size)
                    dist.init_process_group("gloo", store=store, rank=self.rank, world_size=3)
                    total = torch.tensor([self.rank])
                    dist.all_reduce(total)
                    self.assertEqual(total, torch.tensor([3]))

                def test_ranks_are_fresh(self):
                    self.assertFalse(hasattr(torch, "left_by_a_test"))
                    torch.left_by_a_test = True

                def test_ranks_are_fresh_again(self):
                    self.test_ranks_are_fresh()

                def test_every_rank_has_the_same_seed(self):
                    self.assertEqual(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(1234)))

                def test_exit_code_that_means_a_skip(self):
                    sys.exit(TEST_SKIPS["multi-gpu-2"].exit_code)

                @unittest.expectedFailure
                def test_expected_failure(self):
                    self.assertEqual(self.rank, 0)

                def test_cleanups_run_in_ranks(self):
                    self.addCleanup(self.fail, "a cleanup that fails")

                def test_temporary_files_are_private(self):
                    import tempfile
                    open(os.path.join(tempfile.gettempdir(), f"left by {self.rank}"), "w").close()

                @skip_if_lt_x_gpu(64)
                def test_needs_many_accelerators(self):
                    raise RuntimeError("no rank may start")

                @skip_if_lt_x_gpu(2, allow_cpu=True)
                def test_needs_two_accelerators_or_a_cpu(self):
                    pass
            """,
            TORCH_TESTING_SHIM_DEVICE="",
        )
        self.assertEqual(1, run.exit_code)  # for the cleanup
        expected = {
            "test_attributes": (TestStatus.PASSED, ""),
            "test_ranks_are_fresh": (TestStatus.PASSED, ""),
            "test_ranks_are_fresh_again": (TestStatus.PASSED, ""),
            "test_every_rank_has_the_same_seed": (TestStatus.PASSED, ""),
            "test_exit_code_that_means_a_skip": (TestStatus.SKIPPED, "needs at least 2 accelerators"),
            "test_expected_failure": (TestStatus.EXPECTED_FAILURE, ""),
            "test_cleanups_run_in_ranks": (TestStatus.FAILED, "AssertionError: a cleanup that fails"),
            "test_temporary_files_are_private": (TestStatus.PASSED, ""),
            "test_needs_many_accelerators": (TestStatus.SKIPPED, r"needs at least 64 accelerators, found \d+$"),
            "test_needs_two_accelerators_or_a_cpu": (TestStatus.PASSED, ""),
        }
        for method, (status, reason) in expected.items():
            with self.subTest(method):
                self.assert_status(run, f"Reach.{method}", status, reason)

    def test_exit_codes_that_a_test_announces(self):
        run = self.run_sample(
            """
            class Codes(MultiProcessTestCase):
                world_size = 2

                def setUp(self):
                    super().setUp()
                    self.special_return_code_checks = {
                        self.test_as_announced.__wrapped__: 7,
                        self.test_not_as_announced.__wrapped__: 7,
                    }
                    self.skip_return_code_checks = [
                        self.test_any_code.__wrapped__,
                        self.test_raises_all_the_same.__wrapped__,
                    ]
                    self._spawn_processes()

                @skip_if_lt_x_gpu(2, allow_cpu=True)
                def test_as_announced(self):
                    os._exit(7)

                @skip_if_lt_x_gpu(2, allow_cpu=True)
                def test_not_as_announced(self):
                    os._exit(8)

                @skip_if_lt_x_gpu(2, allow_cpu=True)
                def test_any_code(self):
                    os._exit(9)

                @skip_if_lt_x_gpu(2, allow_cpu=True)
                def test_raises_all_the_same(self):
                    raise ValueError("seen")
            """
        )
        self.assert_status(run, "Codes.test_as_announced", TestStatus.PASSED)
        reason = "rank 0 ended with exit code 8, but the test expects exit code 7"
        self.assert_status(run, "Codes.test_not_as_announced", TestStatus.FAILED, reason)
        self.assert_status(run, "Codes.test_any_code", TestStatus.PASSED)
        self.assert_status(run, "Codes.test_raises_all_the_same", TestStatus.ERROR, "rank . errored: ValueError: seen")

    def test_device_chosen_by_hand(self):
        body = """
        class Count(DTensorTestBase):
            @skip_if_lt_x_gpu(4)
            def test_runs_on_cpu_ranks(self):
                self.assertEqual(self.device_type, "cpu")
        """
        run = self.run_sample(body, TORCH_TESTING_SHIM_DEVICE="cpu")
        self.assert_status(run, "Count.test_runs_on_cpu_ranks", TestStatus.PASSED)
        run = self.run_sample(body, TORCH_TESTING_SHIM_DEVICE="gpuu")
        self.assertEqual(2, run.exit_code)
        self.assertRegex(run.output, "^unknown device 'gpuu'; torch knows cpu, [a-z, ]+\n$")
        self.assertNotIn("Traceback", run.output)

    def test_what_ranks_leave_goes_with_them(self):
        run = self.run_sample(
            """
            class Leaves(MultiProcessTestCase):
                world_size = 2

                def setUp(self):
                    super().setUp()
                    self._spawn_processes()

                def test_children_and_locked_folders(self):
                    subprocess.Popen(["sleep", "600"])
                    subprocess.Popen(["sleep", "600"], start_new_session=True)
                    os.makedirs(os.path.join(os.environ["TMPDIR"], f"locked{self.rank}", "below"))
                    os.chmod(os.path.join(os.environ["TMPDIR"], f"locked{self.rank}"), 0o000)
            """
        )
        self.assert_status(run, "Leaves.test_children_and_locked_folders", TestStatus.PASSED)

    def test_output_of_a_passing_test_on_demand(self):
        body = """
        class Prints(DTensorTestBase):
            def test_prints(self):
                print("hello", "all" if self.rank < 2 else "others")
        """
        self.assertNotIn("hello", self.run_sample(body).output)
        shown = self.run_sample(body, TORCH_TESTING_SHIM_SHOW_OUTPUT="1").output
        self.assertIn("[ranks 0, 1] hello all\n[ranks 2, 3] hello others\n", shown)

    def test_wrong_use(self):
        run = self.run_sample(
            """
            class NotStarted(MultiProcessTestCase):
                def test_nothing_was_started(self):
                    pass

            def make():
                class Inner(DTensorTestBase):
                    def test_local_class(self):
                        pass
                return Inner

            Inner = make()
            """
        )
        reason = r"no rank was started: setUp has to end with self\._spawn_processes\(\)"
        self.assert_status(run, "NotStarted.test_nothing_was_started", TestStatus.ERROR, reason)
        self.assertIn("is defined in a function, where ranks cannot find it by name", run.output)
        self.assertNotIn("Traceback", run.output)

    def test_unusable_temporary_folder(self):
        body = """
        class Any(DTensorTestBase):
            def test_any(self):
                pass
        """
        run = self.run_command(str(self.write_sample(body)), TMPDIR=str(self.folder / "missing"))
        self.assertEqual(2, run.exit_code)
        reason = "No such file or directory"
        self.assertEqual(f"cannot make a scratch folder in {self.folder}/missing: {reason}\n", run.output)


if __name__ == "__main__":
    run_tests()
