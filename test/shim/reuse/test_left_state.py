"""No test passes or fails because of what an earlier one has left in its ranks: samples that leave all kinds of state.
Which settings of torch, the interpreter and the process are put back, `_isolation/test_*_parts.py` tests one by one.
The suite runs them without most of the tests that cost new ranks; whole, and beside fresh ranks:

    python test/conformance/compare_reuse.py -- --root test/shim/reuse --patterns '*_left.py'
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import ROOT, SampleRun, SampleTestCase
from left_state import NOTES, QUICK, RECORDS, outcome


class LeftStateTest(SampleTestCase):
    def run_left(self, name: str) -> SampleRun:
        """Run a sample in reused ranks and check that each of its tests came to what its name says."""
        self.records = self.folder / "records"
        self.records.mkdir()
        variables = {
            "TORCH_TESTING_SHIM_REUSE_RANKS": "1",
            "TORCH_TESTING_SHIM_STALL_SECONDS": "2",
            RECORDS: str(self.records),
            QUICK: "1",
        }
        run = self.run_command(str(Path(__file__).with_name(f"{name}.py")), **variables)
        self.assert_nothing_left()
        found = {test: entry.status.value for test, entry in run.entries.items()}
        self.assertTrue(found, run.output)
        self.assertEqual({test: outcome(test) for test in found}, found, run.output)
        return run

    def assert_notes(self, run: SampleRun, at_least: int) -> None:
        """Check that a note names what could not be put back, that there is none where it could, and that ranks were
        replaced in the first case alone."""
        notes = json.loads((self.records / NOTES).read_text())
        tests = [test for test in run.entries if test.endswith("_2_finds_none")]
        self.assertGreaterEqual(len(tests), at_least)
        for second in tests:
            first = second.replace("_2_finds_none", "_1_leaves_it")
            if first not in notes:
                self.assertRegex("\n".join(run.entries[second].notes), "passed alone, failed after .*left behind")
                continue
            said = "\n".join(run.entries[first].notes)
            has_same_ranks = self.pids(first) == self.pids(second)
            with self.subTest(first):
                self.assertEqual(bool(notes[first]), bool(said), said)
                self.assertTrue(re.search(notes[first], said), said)
                self.assertEqual(not notes[first], has_same_ranks)
                self.assertNotIn("left behind", "\n".join(run.entries[second].notes))

    def pids(self, test: str) -> list[int]:
        return [json.loads(path.read_text())[0] for path in sorted(self.records.glob(f"{test}.*"))]

    def test_state_of_the_process(self) -> None:
        self.assert_notes(self.run_left("process_left"), 16)

    def test_state_of_the_interpreter_and_of_the_test_file(self) -> None:
        self.assert_notes(self.run_left("python_left"), 6)

    def test_state_of_torch(self) -> None:
        self.assert_notes(self.run_left("torch_left"), 6)

    def test_process_groups_and_what_torch_keeps_with_them(self) -> None:
        self.assert_notes(self.run_left("groups_left"), 14)

    def test_ends_of_ranks(self) -> None:
        self.run_left("endings_left")


class Comparison(TestCase):
    def test_reused_and_fresh_ranks_come_to_the_same(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("left_state.py", "process_left.py"):
                shutil.copy(Path(__file__).with_name(name), folder)
            options = ["--root", folder, "--patterns", "*_left.py", "-k", "priority"]
            command = [sys.executable, str(ROOT / "test" / "conformance" / "compare_reuse.py"), "--", *options]
            done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
        self.assertEqual((0, "9 outcomes reused, 9 fresh, 0 differ\n"), (done.returncode, done.stdout), done.stderr)


class Outcomes(TestCase):
    def test_names_say_what_tests_come_to(self) -> None:
        names = ("test_1_leaves_it", "test_2_finds_none", "test_3_relies_on_it", "test_1_errs", "test_1_skips")
        self.assertEqual(["passed", "passed", "failed", "error", "skipped"], [outcome(name) for name in names])


if __name__ == "__main__":
    run_tests()
