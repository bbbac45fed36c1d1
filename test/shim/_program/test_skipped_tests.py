"""Tests that a run is told to skip."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

from torch_testing_shim._program.log import TestLog
from torch_testing_shim._program.skipped_tests import SkipListError, leave_out, tests_to_skip
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests


class SkippedTestsTest(TestCase):
    def test_they_are_left_out_and_logged_with_their_reason(self) -> None:
        log, told = TestLog(), io.StringIO()
        log.plan(["A.a", "A.b"])
        with contextlib.redirect_stderr(told):
            self.assertEqual(["A.b"], leave_out(["A.a", "A.b"], {"A.a": "hangs"}, log))
        (entry,) = log.entries
        self.assertEqual(("A.a", TestStatus.SKIPPED, "hangs"), (entry.test, entry.status, entry.reason))
        self.assertEqual((["A.b"], "A.a ... skipped 'hangs'\n"), (log.never_ended, told.getvalue()))

    def test_a_run_that_is_told_nothing_skips_nothing_and_a_broken_file_is_told(self) -> None:
        self.assertEqual({}, tests_to_skip(None, ["A.a"], "cpu"))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "told.json"
            for text in (None, "{", "[1]", '[{"id": "x"}]', '[{"id": "", "expect": "skip", "devices": [], "why": ""}]'):
                if text is not None:
                    path.write_text(text)
                with self.assertRaisesRegex(SkipListError, f"^cannot read which tests to skip from {path}: "):
                    tests_to_skip(path, ["A.a"], "cpu")


if __name__ == "__main__":
    run_tests()
