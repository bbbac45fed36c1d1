"""Ctrl-C, SIGTERM and SIGKILL of a test file's process, with real ranks: what ran is reported, nothing is left."""

import signal
import time

from harness_samples import SampleTestCase, wait_until

from torch_testing_shim._journal import TestStatus
from torch_testing_shim._stop_signals import ONE_SECONDS
from torch_testing_shim.common_utils import run_tests

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
        open(os.path.join(os.path.dirname(__file__), f"hangs{self.rank}"), "w").close()
        time.sleep(3600)
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


class InterruptTestCase(SampleTestCase):
    def start_hanging(self, *arguments, body=HANGING, **extra):
        process = self.start([str(self.write_sample(body)), *arguments], **extra)
        self.addCleanup(process.kill)
        hanging = lambda: len(list(self.folder.glob("hangs*"))) == 4  # noqa: E731
        self.assertTrue(wait_until(lambda: hanging() or process.poll() is not None, 120) and hanging())
        return process

    def end(self, process, number):
        began = time.monotonic()
        process.send_signal(number)
        return self.finish(process, began)

    def check_reported(self, run, exit_code, line):
        self.assertEqual(exit_code, run.exit_code, run.output)
        self.assertNotIn("Traceback", run.output)
        self.assertEqual(1, run.output.count(f"{line}\n"), run.output)
        self.assertEqual(["Hangs.test_a_passes"], list(run.entries))
        self.assert_status(run, "Hangs.test_a_passes", TestStatus.PASSED)
        self.assertLess(run.seconds, 60, "an hour's sleep was not cut short")
        self.assert_nothing_left()


class Once(InterruptTestCase):
    def test_ctrl_c(self):
        report = self.folder / "report.xml"
        run = self.end(self.start_hanging("--save-xml", str(report)), signal.SIGINT)
        self.check_reported(run, 130, "interrupted")
        self.assertIn("test_a_passes", report.read_text())

    def test_sigterm(self):
        report = self.folder / "report.xml"
        run = self.end(self.start_hanging("--save-xml", str(report)), signal.SIGTERM)
        self.check_reported(run, 143, "ended by SIGTERM")
        self.assertIn("test_a_passes", report.read_text())

    def test_sigterm_with_pytest(self):
        run = self.end(self.start_hanging("--use-pytest"), signal.SIGTERM)
        self.check_reported(run, 143, "ended by SIGTERM")

    def test_sigterm_ends_child_processes(self):
        run = self.end(self.start_hanging("--run-parallel", "2"), signal.SIGTERM)
        self.assertEqual(143, run.exit_code, run.output)
        self.assert_status(run, "Hangs.test_a_passes", TestStatus.PASSED)
        self.assert_nothing_left()


class Twice(InterruptTestCase):
    def check(self, first, second, exit_code):
        process = self.start_hanging(body=HANGING_TWICE)
        process.send_signal(first)
        cleans_up = self.folder / "tmp" / "cleans-up"
        self.assertTrue(wait_until(cleans_up.exists))
        time.sleep(ONE_SECONDS)  # sooner, it would count as the first one again
        run = self.end(process, second)
        self.assertEqual(exit_code, run.exit_code, run.output)
        self.assertTrue(run.output.endswith("interrupted again: ended at once\n"), run.output)
        self.assertLess(run.seconds, 5)  # on a loaded machine; milliseconds elsewhere
        cleans_up.unlink()
        self.assert_nothing_left()

    def test_ctrl_c(self):
        self.check(signal.SIGINT, signal.SIGINT, 130)

    def test_sigterm(self):
        self.check(signal.SIGTERM, signal.SIGTERM, 143)


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

    def test_spawned_ranks_too(self):
        self.check(self.start_hanging(TORCH_TESTING_SHIM_START_METHOD="spawn"))

    def test_the_children_of_subprocess_too(self):
        self.check(self.start_hanging("--subprocess"), folders=2)

    def check(self, process, folders=1):
        self.kill(process)
        self.assertEqual([], self.processes_of_sample(patience=2.0))
        self.assertEqual(folders, len(list((self.folder / "tmp").glob("torch_testing_shim-*"))))
        (self.folder / "journal").unlink()
        run = self.run_sample(HANGING, "Hangs.test_a_passes")
        self.assertEqual(0, run.exit_code, run.output)


if __name__ == "__main__":
    run_tests()
