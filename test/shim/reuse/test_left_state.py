"""No test passes or fails because of what an earlier one has left in its ranks: samples that leave all kinds of state,
with reused ranks and with fresh ones. `compare_reuse.py` does the same with any files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleRun, SampleTestCase
from left_state import RECORDS, passes

SAMPLES = ("process_left", "python_left", "torch_left", "groups_left")


class LeftStateTest(SampleTestCase):
    def run_left(self, name: str, **extra: str) -> tuple[SampleRun, dict[str, tuple[int, str]]]:
        """Runs a sample and returns what the harness and its tests said."""
        records = self.folder / f"records of {name}"
        records.mkdir()
        run = self.run_command(str(Path(__file__).with_name(f"{name}.py")), **{RECORDS: str(records)}, **extra)
        self.assert_nothing_left()
        seen = {path.name: tuple(json.loads(path.read_text())) for path in records.iterdir()}
        return run, seen

    def assert_outcomes(self, run: SampleRun) -> None:
        wrong = [
            f"{test}: {entry.status.value}: {entry.reason} {entry.notes}"
            for test, entry in run.entries.items()
            if entry.status is not (TestStatus.PASSED if passes(test) else TestStatus.FAILED)
        ]
        self.assertEqual([], wrong, "\n".join(wrong))

    def test_with_fresh_ranks(self) -> None:
        for name in SAMPLES:
            with self.subTest(name):
                self.assert_outcomes(self.run_left(name)[0])


if __name__ == "__main__":
    run_tests()
