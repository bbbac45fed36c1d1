"""Slow, fast and disabled tests."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from torch_testing_shim._shared.settings import Settings
from torch_testing_shim._skips.lists import TestListError, check_test_lists, reason_not_to_run
from torch_testing_shim.common_utils import TestCase, run_tests

HERE = {"linux": "linux", "darwin": "macos", "win32": "windows"}[sys.platform]
ELSEWHERE = "windows" if HERE != "windows" else "linux"


class GatesTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def list_file(self, content: object) -> str:
        path = self.folder / f"{len(os.listdir(self.folder))}.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    def reason(
        self, settings: Settings, *, test_class: str = "TestX", method: str = "test_a", slow: bool = False
    ) -> str | None:
        return reason_not_to_run(test_class, method, slow, settings)

    def test_slow_and_fast(self) -> None:
        self.assertIsNone(self.reason(Settings()))
        self.assertIsNone(self.reason(Settings(with_slow=True), slow=True))
        self.assertIsNone(self.reason(Settings(with_slow=True, skip_fast=True), slow=True))
        self.assertIn("test is slow", str(self.reason(Settings(), slow=True)))
        self.assertIn("test is slow", str(self.reason(Settings(skip_fast=True), slow=True)))
        self.assertIn("test is fast", str(self.reason(Settings(skip_fast=True))))

    def test_a_file_names_slow_tests(self) -> None:
        settings = Settings(slow_tests_file=self.list_file({"test_a (__main__.TestX)": 70.0}))
        self.assertIn("test is slow", str(self.reason(settings)))
        self.assertIn("test is slow", str(self.reason(settings, test_class="TestXCPU")))
        self.assertIsNone(self.reason(settings, method="test_ab"))
        self.assertIsNone(self.reason(settings, test_class="TestY"))
        self.assertIsNone(self.reason(Settings(slow_tests_file=settings.slow_tests_file, with_slow=True)))

    def test_a_file_names_disabled_tests(self) -> None:
        issue = "https://issues/7"
        for platforms, expected in [
            ([], True),
            ([HERE], True),
            ([ELSEWHERE, HERE], True),
            ([ELSEWHERE], False),
            (["moon"], False),
        ]:
            settings = Settings(disabled_tests_file=self.list_file({"test_a (__main__.TestX)": [issue, platforms]}))
            found = self.reason(settings)
            self.assertEqual(found, f"test is disabled by {issue}" if expected else None, platforms)

    def test_disabled_tests_alone(self) -> None:
        for platforms, expected in (
            ([HERE], None),
            ([ELSEWHERE], "test is not disabled"),
        ):
            path = self.list_file({"test_a (__main__.TestX)": ["https://issues/7", platforms]})
            found = self.reason(Settings(disabled_tests_file=path, disabled_tests_only=True))
            self.assertEqual(expected, None if found is None else found.partition(";")[0])
        with self.assertRaisesRegex(TestListError, "^--rerun-disabled-tests needs --import-disabled-tests$"):
            check_test_lists(Settings(disabled_tests_only=True))

    def test_a_file_that_changes_is_read_again(self) -> None:
        path = self.list_file({})
        self.assertIsNone(self.reason(Settings(slow_tests_file=path)))
        Path(path).write_text(json.dumps({"test_a (__main__.TestX)": 70.0}))
        os.utime(path, ns=(1, 1))
        self.assertIsNotNone(self.reason(Settings(slow_tests_file=path)))

    def test_files_that_cannot_be_used(self) -> None:
        missing = str(self.folder / "missing.json")
        broken, wrong = self.list_file("{"), self.list_file([1])
        for path, said in [
            (missing, "No such file"),
            (broken, "is no list of tests"),
            (wrong, "it is not a JSON object"),
        ]:
            with self.assertRaisesRegex(TestListError, said):
                check_test_lists(Settings(slow_tests_file=path))
            with self.assertRaisesRegex(TestListError, said):
                self.reason(Settings(disabled_tests_file=path))
        odd = self.list_file({"test_a (__main__.TestX)": "https://issues/7"})
        with self.assertRaisesRegex(TestListError, "is to have an issue and a list of platforms"):
            check_test_lists(Settings(disabled_tests_file=odd))


if __name__ == "__main__":
    run_tests()
