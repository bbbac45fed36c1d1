"""A test file's process, through the real command: however it ends, the right test is charged and nothing is left."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from torch_testing_shim._shared.stop_signals import ONE_SECONDS
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from runner_samples import RUN_TIMEOUT, RunnerTestCase, last_line

#: A test that hangs, with two helpers that hang too: one in a group of its own, as ranks are, one in another session.
HANG = """
def test_a_quick(self): pass
def test_b_hangs(self):
    sleep = [sys.executable, "-c", "import time; time.sleep(300)"]
    subprocess.Popen(sleep, preexec_fn=os.setpgrp)
    subprocess.Popen(sleep, start_new_session=True)
    open("started", "w").close()
    time.sleep(300)
def test_c_never(self): pass
"""


def table_of(output: str) -> str:
    """The lines after the last file's: the table and the last line."""
    return re.split(r"^test_\w+  .*\ds\n", output, flags=re.MULTILINE)[-1].strip("\n")


class DeathTest(RunnerTestCase):
    def run_sample(self, body: str) -> subprocess.CompletedProcess[str]:
        """Run one sample file, which has to fail without a word on standard error."""
        self.sample("test_x", body)
        result = self.run_test()
        self.assertEqual((1, ""), (result.returncode, result.stderr))
        self.assertNothingLeft()
        return result

    def test_an_exit_in_the_middle_is_charged_to_the_test_that_ran(self) -> None:
        result = self.run_sample(
            """
            def test_a(self): pass
            def test_b(self):
                print("the last words")
                os._exit(3)
            def test_c(self): pass
            """
        )
        self.assertExpectedInline(
            table_of(result.stdout),
            """\
CRASHED  test_x::SampleTest.test_b  the file's process ended with exit status 3 while this test ran
2 passed, 1 failed, 0 skipped""",
        )
        self.assertIn("the last words", result.stdout)

    def test_a_file_that_does_not_import(self) -> None:
        self.write("test_x", "import nothing_of_this_name\n")
        result = self.run_test()
        self.assertExpectedInline(
            table_of(result.stdout),
            """\
ERROR  test_x  ModuleNotFoundError: No module named 'nothing_of_this_name'
0 passed, 1 failed, 0 skipped""",
        )
        self.assertEqual((1, ""), (result.returncode, result.stderr))

    def test_a_file_without_run_tests(self) -> None:
        tests = "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.fail()\n"
        # pytest runs a file that does not name run_tests
        self.write("test_x", f"{tests}def run_tests(): pass\n_ = run_tests\n")
        result = self.run_test()
        self.assertEqual(1, result.returncode)
        self.assertIn("NO TESTS  test_x  wrote no journal: does it end in `run_tests()`", result.stdout)

    def test_temporary_files_of_a_killed_file_are_removed(self) -> None:
        self.run_sample(
            """
            def test_a(self):
                import tempfile
                open(os.path.join(tempfile.mkdtemp(), "large"), "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            """
        )

    def test_a_file_reads_nothing_from_the_users_terminal(self) -> None:
        self.sample("test_x", "def test_a(self): self.assertEqual('', sys.stdin.read())")
        self.assertEqual(0, self.run_test().returncode)


class StopTest(RunnerTestCase):
    def stop(self, number: signal.Signals, *arguments: str) -> tuple[int, str]:
        """Start two files, the first of which hangs, send a signal, and return exit status and output."""
        self.sample("test_a", HANG)
        self.sample("test_b", "def test_a(self): pass")
        process = self.start(*arguments)
        self.wait_until((self.tree / "started").exists, "the hanging test started")
        process.send_signal(number)
        output, _ = process.communicate(timeout=RUN_TIMEOUT)
        return process.returncode, output

    def test_ctrl_c_names_the_test_and_leaves_nothing(self) -> None:
        status, output = self.stop(signal.SIGINT)
        self.assertNothingLeft()
        self.assertEqual(130, status)
        self.assertRegex(output, r"\Atest_a  1 passed  [\d.]+s\nstopped while test_a::SampleTest.test_b_hangs ran\n")
        self.assertEqual(1, output.count("    time.sleep(300)\n"), output)
        self.assertTrue(output.endswith("\nnot run: 1 file (SIGINT)\n1 passed, 0 failed, 0 skipped\n"), output)

    def test_one_interrupt_that_arrives_twice_is_one(self) -> None:
        self.sample("test_a", HANG)
        process = self.start("--json-lines", "run.jsonl")
        self.wait_until((self.tree / "started").exists, "the hanging test started")
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
            time.sleep(0.02)
        output, _ = process.communicate(timeout=RUN_TIMEOUT)
        self.assertNothingLeft()
        self.assertEqual(129, process.returncode, output)
        self.assertIn("stopped while test_a::SampleTest.test_b_hangs ran\n", output)
        self.assertIn('"stopped_by": "SIGHUP"', (self.tree / "run.jsonl").read_text())

    def test_under_nohup_the_end_of_the_terminal_is_nothing(self) -> None:
        self.sample("test_a", "def test_a(self): [os.kill(pid, signal.SIGHUP) for pid in (os.getppid(), os.getpid())]")
        command = ["nohup", sys.executable, str(self.tree / "run_test.py")]
        done = subprocess.run(command, cwd=self.tree, env=self.environment(), capture_output=True, text=True)
        self.assertEqual((0, "1 passed, 0 failed, 0 skipped"), (done.returncode, last_line(done.stdout)))

    def test_a_second_ctrl_c_ends_at_once_without_a_report(self) -> None:
        ignore = "signal.signal(signal.SIGINT, lambda *_: open('interrupted', 'w').close())"
        self.sample("test_a", f"def test_a(self): {ignore}; open('started', 'w').close(); time.sleep(300)")
        process = self.start()
        self.wait_until((self.tree / "started").exists, "the test started")
        process.send_signal(signal.SIGINT)
        self.wait_until((self.tree / "interrupted").exists, "the first Ctrl-C reached the file")
        time.sleep(ONE_SECONDS)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=RUN_TIMEOUT)
        self.assertNothingLeft()
        self.assertEqual((130, ""), (process.returncode, output))


class TemporaryFolderTest(RunnerTestCase):
    def test_a_temporary_folder_that_is_not_there(self) -> None:
        self.sample("test_x", "def test_a(self): pass")
        result = self.run_test(env=self.environment(TMPDIR="/nowhere/at/all"))
        self.assertEqual((2, ""), (result.returncode, result.stdout))
        self.assertRegex(
            result.stderr, r"\Arun_test.py: error: cannot make a temporary folder .*'/nowhere/at/all.*'\n\Z"
        )

    def test_no_temporary_folder_can_be_written(self) -> None:
        self.sample("test_x", "def test_a(self): pass")
        environment = self.environment()
        del environment["TMPDIR"]
        result = subprocess.run(
            [sys.executable, str(self.tree / "run_test.py")],
            cwd=self.tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),  # no file may grow, as on a full disk
        )
        self.assertEqual((2, ""), (result.returncode, result.stdout))
        self.assertIn("run_test.py: error: cannot make a temporary folder", result.stderr)
        self.assertNotIn("Traceback", result.stderr)
        self.assertEqual([], [path for path in os.listdir(self.tree) if path.startswith("tmp")])


class OutputTest(RunnerTestCase):
    def test_output_that_is_no_text_does_not_break_the_report(self) -> None:
        self.sample("test_x", "def test_a(self): os.write(1, bytes(range(256)) + b'last words\\n'); os._exit(1)")
        result = self.run_test(env=self.environment(PYTHONIOENCODING="ascii"))
        self.assertEqual((1, ""), (result.returncode, result.stderr))
        self.assertIn("last words\n", result.stdout)


if __name__ == "__main__":
    run_tests()
