"""The runner with files that end in the package's own `run_tests`, which the other tests' samples only imitate."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runner_samples import RUN_TIMEOUT, RunnerTestCase, last_line

REAL_SAMPLE = """
import os
from torch_testing_shim.common_utils import TestCase, run_tests

class RealTest(TestCase):
    def test_a_passes(self):
        pass
    def test_b_fails(self):
        self.assertEqual(1, 2)
    def test_c_skips(self):
        self.skipTest("no reason")
    def test_d_dies(self):
        os._exit(3)

if __name__ == "__main__":
    run_tests()
"""

LEAKING = """
from torch_testing_shim.common_utils import TestCase, run_tests
kept = []

class LeakTest(TestCase):
    def test_leaves_a_file(self):
        kept.append(open(__file__))

if __name__ == "__main__":
    run_tests()
"""

HANGING_RANKS = """
import subprocess, time
from torch_testing_shim.common_distributed import MultiProcessTestCase
from torch_testing_shim.common_utils import run_tests

class HangTest(MultiProcessTestCase):
    @property
    def world_size(self):
        return 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_hangs(self):
        for is_apart in (False, True):
            subprocess.Popen(["sleep", "300"], start_new_session=is_apart)
        open(f"started{self.rank}", "w").close()
        time.sleep(300)

if __name__ == "__main__":
    run_tests()
"""


class RealRunTestsTest(RunnerTestCase):
    def test_every_end_of_a_test_and_what_a_passing_test_leaves(self) -> None:
        self.write("test_x", REAL_SAMPLE)
        self.write("test_y", LEAKING)
        result = self.run_test("--keep-going")
        self.assertEqual((1, "2 passed, 2 failed, 1 skipped"), (result.returncode, last_line(result.stdout)))
        self.assertRegex(result.stdout, r"(?m)^FAILED  test_x::RealTest.test_b_fails  \S")
        died = (
            "CRASHED  test_x::RealTest.test_d_dies  the file's process ended with exit status 3 while this test ran\n"
        )
        self.assertIn(died, result.stdout)
        left = r"left in the test process: descriptor \d+ \(\S+test_y.py\)"
        self.assertRegex(result.stdout, rf"(?m)^NOTE  test_y::LeakTest.test_leaves_a_file  {left}$")

    def start_hanging(self) -> subprocess.Popen[str]:
        self.write("test_x", HANGING_RANKS)
        process = self.start("--device", "cpu")
        for rank in (0, 1):
            self.wait_until((self.tree / f"started{rank}").exists, f"rank {rank} started")
        return process

    def test_sigterm_ends_the_ranks_too(self) -> None:
        process = self.start_hanging()
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=RUN_TIMEOUT)
        self.assertNothingLeft()
        self.assertEqual(143, process.returncode, output)
        self.assertIn("stopped while test_x::HangTest.test_hangs ran\n", output)
        self.assertEqual("0 passed, 0 failed, 0 skipped", last_line(output))

    def test_ranks_die_with_a_killed_runner_and_the_next_run_removes_its_folder(self) -> None:
        process = self.start_hanging()
        process.kill()
        self.wait_until(lambda: not self.processes_of_tree(), "all ranks died with the runner", seconds=2.0)
        (left,) = self.scratch.iterdir()
        self.assertTrue(left.name.startswith("tts-"))
        self.write("test_x", REAL_SAMPLE)
        self.assertEqual(0, self.run_test("test_x::RealTest::test_a_passes").returncode)
        self.assertNothingLeft()


if __name__ == "__main__":
    run_tests()
