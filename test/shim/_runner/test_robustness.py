"""Files that do what no file should: each gets its clear words, and nothing of it reaches the other files."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import unittest
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runner_samples import RUN_TIMEOUT, RunnerTestCase, last_line

#: By name: the body of a file's only test, and how its line in the table of failures begins; "" for a pass.
NASTY = {
    "closes_stdout": ("os.close(1)", ""),
    "closes_all": (
        "os.close(1); os.close(2)",
        "CRASHED  test_closes_all::SampleTest.test_it  the file's process ended with exit status 1 while this test ran",
    ),
    "writes_to_stdin": ("os.write(0, b'x'); self.assertEqual(b'', os.read(0, 1))", ""),
    "kills_its_group": (
        "os.killpg(0, signal.SIGKILL)",
        "CRASHED  test_kills_its_group::SampleTest.test_it  the file's process ended with SIGKILL while this test ran",
    ),
    "kills_session": (
        "subprocess.run(['pkill', '-KILL', '-s', '0'])",
        "CRASHED  test_kills_session::SampleTest.test_it  the file's process ended with SIGKILL while this test ran",
    ),
    "breaks_its_journal": (
        "open(mini_run.journal.path, 'ab').write(b'\\xff\\x00{\\n[]\\n')",
        "ERROR  test_breaks_its_journal  2 lines of its journal cannot be read: tests may be missing here",
    ),
    "removes_its_journal": (
        "os.remove(mini_run.journal.path)",
        "ERROR  test_removes_its_journal  the beginning of its journal is lost: tests may be missing here",
    ),
    "makes_its_journal_a_folder": (
        "os.remove(mini_run.journal.path); os.mkdir(mini_run.journal.path)",
        "ERROR  test_makes_its_journal_a_folder  1 line of its journal cannot be read: tests may be missing here",
    ),
    "removes_its_folder": (
        "__import__('shutil').rmtree(os.path.dirname(mini_run.journal.path))",
        "ERROR  test_removes_its_folder  ",
    ),
    "ignores_signals": (
        "[signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; time.sleep(300)",
        "TIMED OUT  test_ignores_signals::SampleTest.test_it  the file's limit of 5 s was over while this test ran",
    ),
    "stops_itself": (
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "TIMED OUT  test_stops_itself::SampleTest.test_it  the file's limit of 5 s was over while this test ran",
    ),
    "daemonises": (
        "os.fork() or (os.setsid(), os.fork() or time.sleep(300), os._exit(0))",
        "",
    ),
}
GOOD = "def test_it(self): pass"


def _largest_child() -> int:
    """The most memory that a child of this process has had, in KiB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


class NastyFilesTest(RunnerTestCase):
    def test_each_is_told_apart_and_the_others_are_intact(self) -> None:
        for name, (body, _) in NASTY.items():
            self.sample(f"test_{name}", f"def test_it(self): import mini_run; {body}")
            self.sample(f"test_{name}_then_good", GOOD)
        result = self.run_test("--keep-going", "-j4", "--timeout", "5")
        self.assertEqual((1, ""), (result.returncode, result.stderr), result.stdout)
        table = re.split(r"(?m)^test_\w+  .*\ds\n", result.stdout)[-1]
        for name, (_, line) in NASTY.items():
            own = [found for found in table.splitlines() if re.match(rf"[A-Z ]+  test_{name}\b(?!_)", found)]
            self.assertEqual(bool(line), bool(own), result.stdout)
            self.assertTrue(not line or any(found.startswith(line) for found in own), f"{line}: {result.stdout}")
            self.assertIn(f"test_{name}_then_good  1 passed", result.stdout)
        self.assertNotIn("Traceback", table)
        self.assertIn("test_daemonises left processes running, which were ended: ", result.stdout)
        self.assertNothingLeft()

    def test_a_flood_of_output_is_neither_kept_nor_waited_for(self) -> None:
        """The file ends only once the runner has taken what it printed, 200 MB, off the disk."""
        flood = """
        def test_flood(self):
            line = b"x" * 99 + b"\\n"
            for _ in range(100): os.write(1, line * 20_000)
            deadline = time.monotonic() + 60
            while os.fstat(1).st_size > 1 << 25:
                os.write(1, line)
                time.sleep(0.05)
                self.assertLess(time.monotonic(), deadline, "it was never taken off the disk")
            print("the last words", flush=True)
            os._exit(1)
        """
        self.sample("test_y", GOOD)
        self.run_test()
        usual = _largest_child()  # it has imported torch, which is larger in some builds than in others
        self.sample("test_x", flood)
        result = self.run_test("--keep-going")
        self.assertEqual((1, "1 passed, 1 failed, 0 skipped"), (result.returncode, last_line(result.stdout)))
        self.assertIn("the last words\n", result.stdout)
        self.assertLess(len(result.stdout), 50_000)
        self.assertLess(_largest_child(), usual + 100_000)
        self.assertNothingLeft()

    def test_a_full_disk_costs_the_file_that_filled_it(self) -> None:
        disk = self.tree.parent / "disk"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
            raise unittest.SkipTest("a small disk cannot be mounted here")
        self.addCleanup(subprocess.run, ["umount", "--lazy", str(disk)], check=True)
        fill = """
        def test_a_fills_the_disk(self):
            with open(os.path.join(os.environ["TMPDIR"], "large"), "wb", buffering=0) as large:
                while True: large.write(bytes(1 << 16))
        def test_b_good(self): pass
        """
        self.sample("test_x", fill)
        self.sample("test_y", GOOD)
        result = self.run_test("--keep-going", env=self.environment(TMPDIR=str(disk)))
        self.assertEqual(1, result.returncode, result.stdout)
        self.assertRegex(result.stdout, r"(?m)^(CRASHED|ERROR)  test_x::SampleTest.test_a_fills_the_disk  ")
        self.assertIn("the disk is full that its temporary files lie on", result.stdout)
        self.assertIn("test_y  1 passed", result.stdout)
        self.assertEqual([], [path for path in disk.iterdir() if path.name.startswith("torch-testing-shim-")])

    def test_a_file_that_cannot_be_started_is_one_failure(self) -> None:
        """The sample takes its interpreter away: the files after it cannot be started, and the run says so and ends."""
        interpreter = self.tree / "python"
        interpreter.symlink_to(sys.executable)
        self.sample("test_x", f"def test_it(self): os.remove({str(interpreter)!r})")
        self.sample("test_y", GOOD)
        result = subprocess.run(
            [str(interpreter), str(self.tree / "run_test.py"), "--keep-going"],
            cwd=self.tree,
            env=self.environment(
                PYTHONPATH=os.pathsep.join([*self.environment()["PYTHONPATH"].split(":"), *sys.path[1:]])
            ),
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT,
        )
        self.assertEqual(
            (1, "1 passed, 1 failed, 0 skipped"), (result.returncode, last_line(result.stdout)), result.stderr
        )
        self.assertIn("ERROR  test_y  cannot start test_y: ", result.stdout)


class RerunLineTest(RunnerTestCase):
    BODY = """
    def ran(self): open(f"ran.{self._testMethodName}", "w").close()
    def test_a_passes(self): self.ran()
    def test_b_fails(self): self.ran(); self.assertIn(os.environ.get("WORLD_SIZE"), ())
    def test_c_crashes(self): self.ran(); os._exit(7)
    def test_d_hangs(self): self.ran(); time.sleep(300)
    """

    def test_each_failure_says_how_to_run_exactly_it_again(self) -> None:
        self.sample("folder with blanks/test_x", self.BODY)
        result = self.run_test("--timeout", "3", "--world-size", "3", "--seed", "5", "--device", "cpu")
        lines = re.findall(r"(?m)^To run this test again:\n    (.+)$", result.stdout)
        self.assertEqual(
            ["test_b_fails", "test_c_crashes", "test_d_hangs"], [line.split(".")[-1].split()[0] for line in lines]
        )
        elsewhere = self.tree.parent / "elsewhere"
        elsewhere.mkdir()
        plain = {"PATH": os.environ["PATH"], "PYTHONPATH": self.environment()["PYTHONPATH"]}
        for line, status in zip(lines[:2], (1, 7), strict=True):
            self.assertIn("WORLD_SIZE=3", line)
            self.assertIn("TORCH_TESTING_SHIM_SEED=5", line)
            self.assertIn("TORCH_TESTING_SHIM_DEVICE=cpu", line)
            done = subprocess.run(
                ["sh", "-c", self.journaling(line)], cwd=elsewhere, env=plain, capture_output=True, timeout=60
            )
            self.assertEqual(status, done.returncode, done.stderr.decode())
        self.assertEqual({"ran.test_b_fails", "ran.test_c_crashes"}, {path.name for path in elsewhere.glob("ran.*")})

    def journaling(self, line: str) -> str:
        """The samples' own `run_tests` wants a journal, which the real one does without."""
        return f"TORCH_TESTING_SHIM_JOURNAL={self.tree.parent}/journal {line}"


if __name__ == "__main__":
    run_tests()
