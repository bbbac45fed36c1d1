"""How a rank prepares its process and ends it; in which order hooks of a backend are called, and whose error counts."""

import contextlib
import io
import os
import sys
import unittest
from pathlib import Path
from unittest import mock

from torch_testing_shim._engine import rank_main
from torch_testing_shim._engine.backend_records import Backend, BackendHookError, FoundBackend
from torch_testing_shim._engine.channel import ChannelWriter, make_channel
from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.rank_main import _run_job, run_between_hooks
from torch_testing_shim._engine.rank_outcomes import TEST_SKIPS, outcome_of_exception, pass_outcome, skip_outcome
from torch_testing_shim._engine.stacks import ENTRY
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

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


JOB = RankJob("m", None, "C", "test_x", rank=1, world_size=3, scratch="", rendezvous_file="")
WHOSE = r"of the backend record for 'ruby' \(torch-gems 1\.0\) raised ValueError: no$"


class LazyConnections(SampleTestCase):
    def test_when_ranks_connect(self):
        sample = """
            import psutil
            from unittest import mock

            def connections():
                found = psutil.Process().net_connections("tcp")
                return sum(connection.status == "ESTABLISHED" for connection in found)

            class Eager(MultiProcessTestCase):
                world_size = 2
                changes = {}
                is_lazy = False

                def setUp(self):
                    super().setUp()
                    with mock.patch.dict(os.environ, self.changes):
                        self._spawn_processes()

                def test_when(self):
                    before = connections()
                    place = f"file://{self.file_name}"
                    dist.init_process_group("gloo", init_method=place, rank=self.rank, world_size=2)
                    can = "lazy_init" in dist.ProcessGroupGloo.create_default_device.__doc__
                    self.assertEqual(0 if self.is_lazy and can else 1, connections() - before)
                    dist.all_reduce(torch.ones(1))
                    self.assertEqual(1, connections() - before)
                    self.assertEqual(self.changes.get("TORCH_GLOO_LAZY_INIT"), os.environ.get("TORCH_GLOO_LAZY_INIT"))

            class Lazy(Eager):
                changes = {"TORCH_TESTING_SHIM_LAZY_CONNECTIONS": "1"}
                is_lazy = True

            class TheUsersOwn(Eager):
                changes = {**Lazy.changes, "TORCH_GLOO_LAZY_INIT": "0"}
        """
        run = self.run_sample(sample)
        for name in ("Eager", "Lazy", "TheUsersOwn"):
            self.assert_status(run, f"{name}.test_when", TestStatus.PASSED)


class Hooks(TestCase):
    def setUp(self):
        super().setUp()
        self.calls = []
        reader, descriptor = make_channel()
        self.addCleanup(reader.close)
        self.addCleanup(os.close, descriptor)
        self.channel = ChannelWriter(descriptor)

    def run_hooked(self, run, **hooks):
        """Run `run` between hooks; what they print is in `self.printed`."""
        found = FoundBackend(Backend("ruby", **hooks), "torch-gems 1.0")
        self.printed = io.StringIO()
        with (
            mock.patch.object(rank_main, "backend_record", return_value=found),
            contextlib.redirect_stderr(self.printed),
        ):
            run_between_hooks(JOB, self.channel, run)

    def note(self, name):
        return lambda *arguments: self.calls.append((name, *arguments))

    def fails(self, *_):
        raise ValueError("no")

    def ends(self, outcome, end):
        """A test that reports an outcome, if there is one, and raises."""

        def run():
            if outcome is not None:
                self.channel.send(outcome)
            raise end

        return run

    def test_around_the_test(self):
        self.run_hooked(self.note("test"), before_rank=self.note("before"), after_rank=self.note("after"))
        self.assertEqual([("before", 1, 3), ("test",), ("after", 1, 3)], self.calls)

    def test_without_hooks_and_without_a_record(self):
        self.run_hooked(self.note("test"))
        with mock.patch.object(rank_main, "backend_record", return_value=None):
            run_between_hooks(JOB, self.channel, self.note("test"))
        self.assertEqual([("test",)] * 2, self.calls)

    def test_before_raises(self):
        with self.assertRaisesRegex(BackendHookError, f"^before_rank {WHOSE}") as caught:
            self.run_hooked(self.note("test"), before_rank=self.fails, after_rank=self.note("after"))
        self.assertIsInstance(caught.exception.__cause__, ValueError)
        self.assertEqual([], self.calls)

    def test_after_raises_where_the_test_passed(self):
        with self.assertRaisesRegex(BackendHookError, f"^after_rank {WHOSE}"):
            self.run_hooked(lambda: self.channel.send(pass_outcome(1)), after_rank=self.fails)

    def test_after_is_called_whatever_the_end(self):
        error = KeyError("x")
        for end in (error, SystemExit(3), KeyboardInterrupt(), unittest.SkipTest("s")):
            with self.subTest(end), self.assertRaises(type(end)) as caught:
                self.run_hooked(self.ends(None, end), after_rank=self.note("after"))
            self.assertIs(end, caught.exception)
        self.assertEqual([("after", 1, 3)] * 4, self.calls)

    def test_after_raises_where_the_test_failed(self):
        error = AssertionError("the test's own")
        for outcome, end in ((outcome_of_exception(1, error), SystemExit(10)), (None, error), (None, SystemExit(3))):
            self.channel.sent = None
            with self.subTest(end), self.assertRaises(type(end)) as caught:
                self.run_hooked(self.ends(outcome, end), after_rank=self.fails)
            self.assertIs(end, caught.exception)
            first, *_, last = self.printed.getvalue().splitlines()
            self.assertRegex(first, f"^after that, after_rank {WHOSE}")
            self.assertEqual("ValueError: no", last)

    def test_after_raises_where_the_test_skipped(self):
        code = TEST_SKIPS["generic"].exit_code
        ends = (skip_outcome(1, "s"), SystemExit(code)), (None, SystemExit(code)), (None, unittest.SkipTest("s"))
        for outcome, end in ends:
            self.channel.sent = None
            with self.subTest(end), self.assertRaisesRegex(BackendHookError, f"^after_rank {WHOSE}"):
                self.run_hooked(self.ends(outcome, end), after_rank=self.fails)


if __name__ == "__main__":
    run_tests()
