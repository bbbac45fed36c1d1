"""Ctrl-C, SIGTERM, SIGHUP and SIGKILL of a test file's process, with real ranks: what ran is reported, and where it
stood; nothing is left."""

import os
import signal
import sys
import time
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim._shared.stop_signals import ONE_SECONDS
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase, wait_until

#: Four ranks that wait beside children of theirs, one of them in a session of its own; before it, a test that passes.
HANGING = """
class Hangs(DTensorTestBase):
    def test_a_passes(self):
        pass

    @with_comms
    def test_b_hangs(self):
        subprocess.Popen(["sleep", "3600"])
        subprocess.Popen(["sleep", "3600"], start_new_session=True)
        dist.barrier()
        mark = os.path.join(os.path.dirname(__file__), f"hangs{self.rank}")
        open(mark, "w").close(); time.sleep(3600)  # on one line, so that all ranks stand at the same
"""
#: The same with one rank: where ranks are spawned, each imports torch.
HANGING_ONE = HANGING.replace("    def test_a", "    world_size = 1\n\n    def test_a")
SPAWNED = {"body": HANGING_ONE, "waits": 1, "TORCH_TESTING_SHIM_START_METHOD": "spawn"}
#: The same where ranks are kept, and where they are threads.
HANGING_KEPT = """
from torch_testing_shim.common_distributed import MultiProcContinuousTest

class Hangs(MultiProcContinuousTest):
    world_size = 4

    def test_a_passes(self):
        pass

    def test_b_hangs(self):
        if self.rank == 0:
            time.sleep(0.5)  # the others wait by then
        open(os.path.join(os.path.dirname(__file__), f"hangs{self.rank}"), "w").close()
        if self.rank:
            dist.barrier()
        time.sleep(3600)
"""
HANGING_THREADS = """

class Hangs(SpawningThreads):
    world_size = 4

    def test_a_passes(self):
        pass

    def test_b_hangs(self):
        if self.rank == 0:
            time.sleep(0.5)  # the others wait by then
        open(os.path.join(os.path.dirname(__file__), f"hangs{self.rank}"), "w").close()
        if self.rank:
            dist.barrier()
        while True:
            time.sleep(0.01)
"""
#: A test without ranks whose subtests have passed so far; a failure before it.
HANGING_ALONE = """
class Hangs(TestCase):
    def test_a_fails(self):
        self.fail("on purpose")

    def test_b_hangs(self):
        for number in range(4):
            with self.subTest(number=number):
                open(os.path.join(os.path.dirname(__file__), f"hangs{number}"), "w").close()
        time.sleep(3600)
"""
#: A test that lets no exception out.
SWALLOWING = """
class Hangs(TestCase):
    def test_a_swallows(self):
        for number in range(4):
            open(os.path.join(os.path.dirname(__file__), f"hangs{number}"), "w").close()
        try:
            time.sleep(3600)
        except BaseException:
            pass

    def test_b_never_runs(self):
        pass
"""
#: A cleanup in the controller hangs too, so that one Ctrl-C is not enough.
HANGING_TWICE = (
    HANGING
    + """
    def setUp(self):
        super().setUp()
        if self._testMethodName == "test_b_hangs":
            self.addCleanup(self.hang)

    def hang(self):
        open(os.path.join(os.environ["TMPDIR"], "cleans-up"), "w").close()
        time.sleep(3600)
"""
)


RANKS_0_TO_3 = "ranks 0-3 still ran when interrupted, in test_b_hangs "


class InterruptTestCase(SampleTestCase):
    def start_hanging(self, *arguments, body=HANGING, waits=4, **extra):
        process = self.start([str(self.write_sample(body)), *arguments], **extra)
        self.addCleanup(process.kill)
        hanging = lambda: len(list(self.folder.glob("hangs*"))) == waits  # noqa: E731
        self.assertTrue(wait_until(lambda: hanging() or process.poll() is not None, 120) and hanging())
        return process

    def end(self, process, number):
        began = time.monotonic()
        process.send_signal(number)
        return self.finish(process, began)

    def end_group(self, process, number):
        """As a terminal and a program around the process do together."""
        began = time.monotonic()
        os.killpg(process.pid, number)
        time.sleep(0.01)
        process.send_signal(number)
        return self.finish(process, began)

    def check_reported(self, run, exit_code, line, where=RANKS_0_TO_3, before=("Hangs.test_a_passes",)):
        self.assertEqual(exit_code, run.exit_code, run.output)
        self.assertNotIn("Traceback", run.output)
        self.assertEqual(1, run.output.count("INTERRUPTED: "), run.output)
        self.assertRegex(run.output, r"INTERRUPTED: .*test_b_hangs")
        self.assertIn(where, run.output)
        self.assertRegex(run.output, r'  File ".*test_sample.py", line \d+ in test_b_hangs')
        self.assertEqual(["Hangs.test_b_hangs"], list(run.interrupted))
        self.assertIn(where, run.interrupted["Hangs.test_b_hangs"].reason)
        self.assertEqual(1, run.output.count(f"{line}\n"), run.output)
        self.assertEqual(
            dict.fromkeys(before, TestStatus.PASSED), {test: run.entries[test].status for test in run.entries}
        )
        self.assertLess(run.seconds, 60, "an hour's sleep was not cut short")
        self.assert_nothing_left()


class Once(InterruptTestCase):
    def test_ctrl_c(self):
        report = self.folder / "report.xml"
        run = self.end_group(self.start_hanging("--save-xml", str(report)), signal.SIGINT)
        self.check_reported(run, 130, "interrupted")
        self.assertIn("test_a_passes", report.read_text())
        self.assertIn("ranks 0-3 still ran when interrupted", report.read_text())

    def test_hang_up_of_a_spawned_rank(self):
        process = self.start_hanging("Hangs.test_b_hangs", **SPAWNED)
        where = "rank 0 still ran when interrupted, in test_b_hangs "
        self.check_reported(self.end_group(process, signal.SIGHUP), 129, "ended by SIGHUP", where, before=())

    def test_kept_ranks(self):
        run = self.end_group(self.start_hanging(body=HANGING_KEPT), signal.SIGTERM)
        where = "rank 0 still ran when interrupted, in test_b_hangs (test_sample.py:"
        self.check_reported(run, 143, "ended by SIGTERM", where)
        self.assertIn("ranks 1-3 waited in barrier (test_sample.py:", run.output)

    def test_threads(self):
        run = self.end_group(self.start_hanging(body=HANGING_THREADS), signal.SIGINT)
        where = "rank 0 still ran when interrupted, in test_b_hangs (test_sample.py:"
        self.check_reported(run, 130, "interrupted", where)
        self.assertIn("waiting for rank 0 in barrier", run.output)

    def test_a_test_without_ranks_is_not_passed_and_what_failed_before_is_told(self):
        run = self.end_group(self.start_hanging(body=HANGING_ALONE), signal.SIGINT)
        self.assertEqual((130, ["Hangs.test_a_fails"]), (run.exit_code, list(run.entries)), run.output)
        self.assertEqual((("Hangs.test_b_hangs",), False), (run.journal.unfinished, run.journal.is_finished))
        self.assertTrue(run.output.endswith("interrupted\n"), run.output)
        self.assertIn("AssertionError: on purpose", run.output)
        self.assertRegex(
            run.output,
            r"INTERRUPTED: test_b_hangs .*\n-+\nTraceback .*\n  File .*, in test_b_hangs\n"
            r"    time.sleep\(3600\)\n(?:    [~^]+\n)?KeyboardInterrupt\n",
        )

    def test_a_test_that_catches_the_interrupt_is_not_passed_and_the_last_one(self):
        run = self.end_group(self.start_hanging(body=SWALLOWING), signal.SIGINT)
        self.assertEqual((130, []), (run.exit_code, list(run.entries)), run.output)
        self.assertRegex(run.output, r"INTERRUPTED: test_a_swallows \(__main__\.Hangs(\.test_a_swallows)?\)")
        self.assertIn("the test caught SIGINT and went on", run.output)

    def test_ctrl_c_of_a_pytest_that_is_run_by_itself(self):
        path = self.write_sample(HANGING)
        process = self.start(["-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)])
        self.addCleanup(process.kill)
        self.assertTrue(wait_until(lambda: len(list(self.folder.glob("hangs*"))) == 4, 120))
        run = self.end_group(process, signal.SIGINT)
        self.assertEqual(2, run.exit_code, run.output)  # pytest's
        self.assertIn("KeyboardInterrupt: ranks 0-3 still ran when interrupted, in test_b_hangs ", run.output)
        self.assert_nothing_left()

    def test_sigterm_with_pytest(self):
        run = self.end(self.start_hanging("--use-pytest"), signal.SIGTERM)
        self.check_reported(run, 143, "ended by SIGTERM")

    def test_sigterm_ends_child_processes(self):
        process = self.start_hanging("--run-parallel", "2")
        time.sleep(ONE_SECONDS)  # the test that passes, in another child process, has begun at the same time
        run = self.end(process, signal.SIGTERM)
        self.assertEqual((143, 1), (run.exit_code, run.output.count("INTERRUPTED: ")), run.output)
        self.assertFalse(run.journal.is_finished)
        self.assert_status(run, "Hangs.test_a_passes", TestStatus.PASSED)
        self.assert_nothing_left()


class Twice(InterruptTestCase):
    def test_ctrl_c(self):
        process = self.start_hanging(body=HANGING_TWICE)
        process.send_signal(signal.SIGINT)
        cleans_up = self.folder / "tmp" / "cleans-up"
        self.assertTrue(wait_until(cleans_up.exists))
        time.sleep(ONE_SECONDS)  # from when the first one was taken
        run = self.end(process, signal.SIGINT)
        self.assertEqual(130, run.exit_code, run.output)
        self.assertTrue(run.output.endswith("interrupted again: ended at once\n"), run.output)
        self.assertLess(run.seconds, 5)  # on a loaded machine; milliseconds elsewhere
        cleans_up.unlink()
        self.assert_nothing_left()


class ThoseOfOthers(SampleTestCase):
    def test_handlers_of_the_test_file_stay_and_forks_die_as_usual(self):
        run = self.run_sample(
            """
            import multiprocessing
            got = []
            signal.signal(signal.SIGINT, lambda *_: got.append("SIGINT"))

            class Signals(TestCase):
                def test_own_handler(self):
                    os.kill(os.getpid(), signal.SIGINT)
                    self.assertEqual(["SIGINT"], got)

                def test_terminated_fork(self):
                    for _ in range(100):  # at once, so that some get the signal before their first step
                        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,))
                        child.start()
                        child.terminate()
                        child.join(20)
                        self.assertEqual(-signal.SIGTERM, child.exitcode)
            """
        )
        self.assertEqual(0, run.exit_code, run.output)


class Killed(InterruptTestCase):
    def kill(self, process):
        process.kill()
        process.communicate()

    def test_all_are_gone_and_the_next_run_removes_the_folder(self):
        self.check(self.start_hanging())

    def test_a_spawned_rank_too(self):
        self.check(self.start_hanging("Hangs.test_b_hangs", **SPAWNED))

    def test_the_children_of_subprocess_too(self):
        self.check(self.start_hanging("--subprocess", "Hangs.test_b_hangs"), folders=2)

    def check(self, process, folders=1):
        self.kill(process)
        self.assertEqual([], self.processes_of_sample(patience=2.0))
        self.assertEqual(folders, len(list((self.folder / "tmp").glob("tts-*"))))
        (self.folder / "journal").unlink()
        run = self.run_sample(HANGING, "Hangs.test_a_passes")
        self.assertEqual(0, run.exit_code, run.output)


if __name__ == "__main__":
    run_tests()
