"""Proof that the tests of `test/distributed/checkpoint/` can fail: each is run where torch is broken in one way.

`checkpoint_sabotages/` has the ways, by file. Nothing is shown of a test that this torch or this machine skips.
"""

import re

from checkpoint_sabotages.sabotage import UNHARMED, all_tables, case_name
from harness_samples import ROOT, SampleTestCase

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

SABOTAGED = f"""
sys.path.insert(0, {str(ROOT / "test" / "shim")!r})
from checkpoint_sabotages.sabotage import sabotaged_cases, tests_without_sabotage

globals().update(sabotaged_cases(__name__))


class Tables(TestCase):
    def test_each_test_has_a_sabotage(self):
        self.assertEqual([], tests_without_sabotage())
"""


class CheckpointSabotage(SampleTestCase):
    def test_every_sabotage_is_noticed(self):
        run = self.run_sample(SABOTAGED)
        self.assertEqual(1, run.exit_code, run.output)
        self.assert_status(run, "Tables.test_each_test_has_a_sabotage", TestStatus.PASSED)
        tables = all_tables()
        self.assertTrue(tables)
        for table, sabotages in tables.items():
            with self.subTest(f"{table}: {UNHARMED}"):
                entry = self._entry(run, f"{case_name(table, sabotages[0].test)}.test_{UNHARMED}")
                self.assertTrue(entry is None or entry.status is TestStatus.PASSED, run.output)
            for sabotage in sabotages:
                with self.subTest(f"{table}: {sabotage.name}"):
                    self._check_noticed(run, f"{case_name(table, sabotage.test)}.test_{sabotage.name}", sabotage.reason)

    def _entry(self, run, name):
        """Return how a test ended; None where it was skipped for what this torch or this machine lacks."""
        self.assertIn(name, run.entries, run.output)
        entry = run.entries[name]
        if entry.status is TestStatus.SKIPPED:
            self.assertRegex(entry.reason, "this torch|needs |no memory can be pinned")
            return None
        return entry

    def _check_noticed(self, run, name, reason):
        entry = self._entry(run, name)
        if entry is None:
            return
        self.assertTrue(entry.status.is_failure, f"{name} is {entry.status}")
        text = f"{entry.reason}\n{entry.detail}"  # the reason is one line, and a checkpoint's errors have many
        self.assertTrue(re.search(reason, text), f"{reason!r} is not found in {text!r}")


if __name__ == "__main__":
    run_tests()
