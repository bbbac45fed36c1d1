"""Documented behaviour of upstream's `MultiProcessTestCase`, over real ranks; `test_fault_catalogue` has verdicts."""

import re

from harness_samples import SampleTestCase

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests


class SpawnedRank(SampleTestCase):
    """`test_fault_catalogue` has every way to end, in forked ranks."""

    def test_one_that_dies_gives_the_same_verdict(self):
        run = self.run_sample(
            """
            import ctypes

            class Bad(DTensorTestBase):
                world_size = 2  # each rank imports torch

                @with_comms
                def test_segfaults(self):
                    dist.barrier()  # all are connected
                    if self.rank == 1:
                        print("about to crash", flush=True)
                        ctypes.string_at(0)
                    dist.barrier()
            """,
            TORCH_TESTING_SHIM_START_METHOD="spawn",
        )
        self.assertEqual(1, run.exit_code)
        segfaults = self.assert_status(
            run, "Bad.test_segfaults", TestStatus.ERROR, r"rank 1 .* died: killed by SIGSEGV"
        )
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

            LOST = [make()]
            Found = make()

            class Twice(DTensorTestBase):
                def test_first(self):
                    self.assertNotEqual(self.rank, 1, "of the first")

            First = Twice

            class Twice(DTensorTestBase):
                def test_first(self):
                    pass

            def load_tests(loader, tests, pattern):
                return unittest.TestSuite([*tests, LOST[0]("test_local_class")])
            """,
            WORLD_SIZE="2",
        )
        reason = r"no rank was started: setUp has to end with self\._spawn_processes\(\)"
        self.assert_status(run, "NotStarted.test_nothing_was_started", TestStatus.ERROR, reason)
        lost = r"LaunchError: ranks cannot find make\.<locals>\.Inner: no name in __main__ leads to it"
        self.assertEqual(1, len(re.findall(lost, run.output)), "another is found as `Found`")
        self.assertEqual(1, run.output.count("rank 1 failed: AssertionError"), "its name leads to another class now")
        self.assertIn("Ran 5 tests", run.output)
        self.assertIn("FAILED (failures=1, errors=2)", run.output)

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
