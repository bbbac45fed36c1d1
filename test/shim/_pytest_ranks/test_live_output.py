"""`-s`: ranks' output while they run; without it, what ranks printed is captured like any test's."""

import signal
import sys
import time
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import wait_until
from pytest_samples import PytestTestCase

TESTS = """
import subprocess
from pathlib import Path

@pytest.mark.ranks(2)
def test_prints(rank):
    print("printed by", rank)
    subprocess.run(["echo", "of a child"])
    os.write(1, b"without an end")

@pytest.mark.ranks(2)
def test_waits(rank):
    print("waits")
    Path(f"waits{rank}").touch()
    while not Path("go").exists():
        time.sleep(0.02)
"""


class Output(PytestTestCase):
    def test_streamed(self):
        self.write(TESTS)
        began = time.monotonic()
        process = self.start(["-m", "pytest", "-s", "-p", "torch_testing_shim.pytest_plugin", "-p", "no:cacheprovider"])
        self.assertTrue(wait_until(lambda: (self.folder / "waits1").exists()))
        time.sleep(0.3)
        (self.folder / "go").touch()
        run = self.finish(process, began)
        for rank in range(2):
            for line in (f"printed by {rank}", "of a child", "without an end", "waits"):
                self.assertEqual(1, run.output.count(f"[rank {rank}] {line}\n"), run.output)

    def test_captured(self):
        self.write(TESTS)
        run = self.run_pytest("-k", "prints", expected=0)
        self.assertIn("Captured stdout call", run.output)
        self.assertIn("\n[rank 0] printed by 0\n[rank 0] of a child\n[rank 0] without an end\n[rank 1]", run.output)

    def test_interrupted(self):
        self.write(TESTS)
        began = time.monotonic()
        process = self.start(["-m", "pytest", "-p", "torch_testing_shim.pytest_plugin", "-k", "waits"])
        self.assertTrue(wait_until(lambda: (self.folder / "waits1").exists()))
        process.send_signal(signal.SIGINT)
        run = self.finish(process, began)
        self.assertEqual(2, run.exit_code, run.output)
        self.assertIn("KeyboardInterrupt", run.output)
        self.assertIn("ranks 0, 1 still ran when interrupted", run.output)
        self.assertEqual([], self.processes_of_sample())


if __name__ == "__main__":
    run_tests()
