"""What a rank says of an exception, and how it prepares its process."""

from harness_samples import SampleTestCase

from torch_testing_shim._engine.outcome import PeerFailedError, RankStatus
from torch_testing_shim._engine.rank_main import outcome_of_exception, skip_outcome
from torch_testing_shim._journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests


def raised(error, cause=None):
    try:
        raise error from cause
    except BaseException as caught:
        return outcome_of_exception(1, caught)


class Exceptions(TestCase):
    def test_failure_or_error(self):
        self.assertIs(RankStatus.FAILED, raised(AssertionError("no")).status)
        self.assertIs(RankStatus.ERRORED, raised(ValueError("no")).status)

    def test_headline(self):
        class Odd(Exception):
            def __str__(self):
                raise RuntimeError("cannot be shown")

        self.assertEqual("ValueError: one", raised(ValueError("one\ntwo")).headline)
        self.assertEqual("KeyError: 'x'", raised(KeyError("x")).headline)
        self.assertEqual("AssertionError", raised(AssertionError()).headline)
        self.assertRegex(raised(Odd()).headline, "Odd: <exception str.. failed>")

    def test_traceback_leaves_the_harness_out_also_in_causes(self):
        try:
            self.assertEqual(1, 2)
        except AssertionError as error:
            text = raised(ValueError("outer"), cause=error).traceback
        self.assertIn("self.assertEqual(1, 2)", text)
        self.assertIn("was the direct cause of", text)
        self.assertNotIn("torch_testing_shim/_", text)

    def test_syntax_error_keeps_its_type(self):
        try:
            compile("a b", "f.py", "exec")
        except SyntaxError as error:
            self.assertRegex(outcome_of_exception(0, error).headline, "^SyntaxError: ")

    def test_a_long_text_is_cut_in_the_middle(self):
        text = raised(ValueError("x" * 1_000_000 + "end")).traceback
        self.assertLess(len(text), 300_000)
        self.assertIn("characters left out", text)
        self.assertTrue(text.endswith("end"))

    def test_a_peers_failure_is_marked(self):
        self.assertTrue(raised(PeerFailedError("rank 2 failed")).follows_peer)
        self.assertFalse(raised(AssertionError("mine")).follows_peer)

    def test_own_failure_type(self):
        class Mine(Exception):
            pass

        try:
            raise Mine("x")
        except Mine as error:
            self.assertIs(RankStatus.FAILED, outcome_of_exception(0, error, Mine).status)

    def test_skip(self):
        outcome = skip_outcome(3, "why")
        self.assertEqual((RankStatus.SKIPPED, "why", 86), (outcome.status, outcome.skip_reason, outcome.exit_code))


class Process(SampleTestCase):
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
