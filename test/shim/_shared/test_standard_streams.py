"""A process that is started without standard streams runs tests: by `python FILE`, unittest and run_test.py."""

import subprocess
import sys
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim._shared.journal_reading import read_journal
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import ROOT, RUN_TIMEOUT, SampleTestCase

SAMPLE = """
class Ranks(Spawning):
    world_size = 1

    def test_it(self):
        print("something")
        print("something", file=sys.stderr, flush=True)
        self.assertEqual(dict.fromkeys((0, 1, 2), True), {n: os.path.exists(f"/proc/self/fd/{n}") for n in (0, 1, 2)})

class Here(TestCase):
    def test_it(self):
        print("something")
        print("something", file=sys.stderr, flush=True)
        for number in range(3):
            os.fstat(number)
"""

#: Closes 0, 1 and 2, as far as they are named, and becomes the command.
CLOSE = 'exec "$0" "$@"'


class ClosedStreams(SampleTestCase):
    is_cold = True  # a shell starts them, with streams closed

    def run_without(self, closed, *command, **extra):
        done = subprocess.run(
            ["sh", "-c", f"{CLOSE} {closed}", sys.executable, *map(str, command)],
            cwd=self.folder,
            env=self.environment(**extra),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=RUN_TIMEOUT,
        )
        return done.returncode

    def check_journal(self):
        path = self.folder / "journal"
        journal = read_journal(path)
        path.unlink()
        self.assertEqual(0, journal.broken_lines)
        statuses = {entry.test: entry.status for entry in journal.entries}
        self.assertEqual({"Ranks.test_it": TestStatus.PASSED, "Here.test_it": TestStatus.PASSED}, statuses)

    def test_by_file(self):
        path = self.write_sample(SAMPLE)
        for closed, method in ((">&-", "fork"), (">&- 2>&- <&-", "spawn")):
            self.assertEqual(0, self.run_without(closed, path, TORCH_TESTING_SHIM_START_METHOD=method), closed)
            self.check_journal()

    def test_by_unittest(self):
        self.write_sample(SAMPLE)
        self.assertEqual(0, self.run_without(">&- <&-", "-m", "unittest", "test_sample"))

    def test_by_the_runner(self):
        (self.folder / "test").mkdir()
        self.write_sample(SAMPLE, "test/test_sample.py")
        runner = self.folder / "run_test.py"
        runner.write_text((ROOT / "run_test.py").read_text())
        self.assertEqual(0, self.run_without(">&- 2>&- <&-", runner))


if __name__ == "__main__":
    run_tests()
