"""How a rank prepares its process, and ends it."""

import sys
from pathlib import Path

from torch_testing_shim._engine.rank_main import _run_job
from torch_testing_shim._engine.stacks import ENTRY
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase


class Process(SampleTestCase):
    def test_the_entry_is_what_stacks_take_for_it(self):
        self.assertEqual(ENTRY, _run_job.__name__)

    def test_what_keeps_a_rank_from_its_test_is_told(self):
        run = self.run_sample(
            """
            class Start(DTensorTestBase):
                world_size = 2

                def _spawn_processes(self):
                    open(os.path.join(os.path.dirname(self.file_name), "rank1.question"), "w").close()
                    super()._spawn_processes()

                def test_starts(self):
                    pass
            """
        )
        reason = r"rank 1 errored: FileExistsError: \[Errno 17\] File exists"
        self.assert_status(run, "Start.test_starts", TestStatus.ERROR, reason)

    def test_what_a_rank_finds(self):
        run = self.run_sample(
            """
            import tempfile

            class Finds(DTensorTestBase):
                world_size = 2

                def test_own_group_and_folder(self):
                    self.assertEqual(os.getpgid(0), os.getpid())
                    self.assertTrue(tempfile.mkdtemp().startswith(os.environ["TMPDIR"]))
                    self.assertEqual(os.path.dirname(os.environ["TMPDIR"]), os.path.dirname(self.file_name))

                def test_no_input(self):
                    self.assertEqual(sys.stdin.read() if sys.stdin else "", "")

                def test_signals(self):
                    self.assertEqual(signal.getsignal(signal.SIGINT), signal.default_int_handler)
                    self.assertEqual(signal.getsignal(signal.SIGTERM), signal.SIG_DFL)
                    self.assertEqual(signal.getsignal(signal.SIGCHLD), signal.SIG_DFL)
                    self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, ()), set())

                def test_threads(self):
                    self.assertLessEqual(torch.get_num_threads() * 2, max(2, len(os.sched_getaffinity(0))))

                def test_waits_for_its_own_children_only(self):
                    self.assertEqual(subprocess.run(["true"]).returncode, 0)
                    with self.assertRaises(ChildProcessError):
                        os.waitpid(-1, 0)

                def test_warnings_are_kept_apart(self):
                    import warnings
                    warnings.warn("from a rank")
                    with self.assertWarns(UserWarning):
                        warnings.warn("expected")
                    print("printed")
                    self.assertEqual(self.rank, 0)

                def test_prints_by_c_and_by_python(self):
                    os.write(2, b"by descriptor\\n")
                    print("by print")
                    sys.stderr.write("no newline")
                    self.assertEqual(self.rank, 0)
            """
        )
        for test, entry in run.entries.items():
            if not test.endswith(("by_python", "apart")):
                self.assertIs(TestStatus.PASSED, entry.status, entry.detail)
        warned = run.entries["Finds.test_warnings_are_kept_apart"].detail
        self.assertIn("[ranks 0, 1] printed\n", warned)
        self.assertIn("warnings of all ranks:\n    2 x UserWarning: from a rank\n", warned)
        self.assertNotIn("expected", warned)
        printed = run.entries["Finds.test_prints_by_c_and_by_python"].detail
        self.assertIn("[ranks 0, 1] by descriptor\n[ranks 0, 1] by print\n[ranks 0, 1] no newline", printed)


if __name__ == "__main__":
    run_tests()
