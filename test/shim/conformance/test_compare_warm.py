"""Warm and cold runs come to the same: a sample of this suite's own files here, all of them by the command itself.

The sample is small, since the suite's time is: a file without ranks, and one with ranks that pass and fail.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from torch_testing_shim.common_utils import TestCase, run_tests

ROOT = Path(__file__).resolve().parents[3]
CONFORMANCE = ROOT / "test" / "conformance"
sys.path.insert(0, str(CONFORMANCE))

from conform.both_ways import differences, outcome_of  # noqa: E402

SAMPLE = ("shim/_shared/test_exit_status", "shim/distributed/test_sharded_comparison")


class CompareWarmTest(TestCase):
    def test_a_sample_of_files_comes_to_the_same(self) -> None:
        command = [sys.executable, str(CONFORMANCE / "compare_warm.py"), *SAMPLE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"\A(\d+) outcomes warm, \1 cold, 0 differ\n\Z")

    def test_what_differs_is_told(self) -> None:
        warm = {("test", "a", "A.x", "0"): "passed", ("fault", "b", "", "0"): "crashed"}
        cold = {("test", "a", "A.x", "0"): "failed"}
        self.assertExpectedInline(
            "\n".join(differences({"warm": warm, "cold": cold})),
            """\
fault b 0: warm crashed, cold nothing
test a A.x 0: warm passed, cold failed""",
        )
        self.assertEqual([], differences({"warm": warm, "cold": warm}))

    def test_a_record_gives_its_place_and_its_status(self) -> None:
        record = {"record": "rank", "file": "a", "test": "A.x", "attempt": 0, "rank": 1, "status": "died", "pid": 5}
        self.assertEqual((("rank", "a", "A.x", "0", "1"), "died"), outcome_of(record))


if __name__ == "__main__":
    run_tests()
