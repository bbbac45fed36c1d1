"""Rows of written reports: one for each test and finding."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from torch_testing_shim._runner.report.recorded_run import rows_of
from torch_testing_shim._shared.journal import JournalEntry, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from report_samples import CRASHED, STATE


class RowsTest(TestCase):
    def test_one_row_for_each_test_and_finding(self) -> None:
        labels = [(row.test, row.label, row.is_failure, len(row.reruns)) for row in rows_of(STATE) + rows_of(CRASHED)]
        expected = [
            ("State.test_saved", "passed", False, 0),
            ("State.test_loaded", "failed", True, 1),
            ("State.test_once", "flaky", False, 1),
            ("State.test_gpu", "skipped", False, 0),
            ("State.test_known", "expected failure", False, 0),
            ("A.test_quick", "passed", False, 0),
            ("A.test_slow", "crashed", True, 0),
            ("A.test_later", "did not run", True, 0),
            ("", "error", True, 0),
        ]
        self.assertEqual(expected, labels)

    def test_a_flaky_test_fails_where_the_user_wants_it(self) -> None:
        rows = rows_of(dataclasses.replace(STATE, flaky_fails=True))
        self.assertEqual([("flaky", True)], [(row.label, row.is_failure) for row in rows if row.is_flaky])

    def test_a_crash_that_passed_again_is_flaky(self) -> None:
        again = JournalEntry("A.test_slow", TestStatus.PASSED, 1.0)
        rows = rows_of(dataclasses.replace(CRASHED, reruns=(again,)))
        self.assertEqual([("A.test_slow", (again,))], [(row.test, row.reruns) for row in rows if row.is_flaky])


if __name__ == "__main__":
    run_tests()
