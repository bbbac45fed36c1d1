"""The record of failed tests and the user's lists: written, read, damaged, in the way."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, strategies as st

from torch_testing_shim._runner.history.failed_files import (
    FailedRecord,
    begin_failed_list,
    read_failed_list,
    write_failed_list,
)
from torch_testing_shim._runner.usage_error import UsageError
from torch_testing_shim.common_utils import TestCase, run_tests


class FilesTestCase(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.reports = self.root / "test" / "test-reports"
        self.path = self.reports / "last-failed.json"

    def files(self) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())


class RecordTest(FilesTestCase):
    def test_no_record_is_no_failure_and_no_problem(self) -> None:
        record = FailedRecord(self.reports)
        self.assertEqual(((), None), (record.lines, record.problem))

    def test_what_was_written_is_read_and_nothing_lies_beside_it(self) -> None:
        self.assertIsNone(FailedRecord(self.reports).write(["x::A.a", "y"]))
        self.assertEqual(("x::A.a", "y"), FailedRecord(self.reports).lines)
        self.assertEqual(["test/test-reports/last-failed.json"], self.files())

    def test_a_damaged_record_is_as_good_as_none_and_told(self) -> None:
        self.path.parent.mkdir(parents=True)
        for text in ("", "{", "[]", '{"failed": "x"}', '{"failed": [1]}', '{"failed": [""]}', "[" * 100_000, "\udc80"):
            self.path.write_text(text, errors="surrogateescape")
            record = FailedRecord(self.reports)
            self.assertEqual((), record.lines, text[:20])
            expected = f"cannot read what failed last time from {str(self.path)!r}: it is damaged"
            self.assertEqual(expected, record.problem, text[:20])
            self.assertIsNone(record.write(["x"]))
            self.assertEqual(("x",), FailedRecord(self.reports).lines)

    def test_a_record_that_cannot_be_read_or_written_is_told(self) -> None:
        self.path.mkdir(parents=True)
        record = FailedRecord(self.reports)
        self.assertIn("last-failed.json': Is a directory", record.problem or "")
        self.assertIn("cannot record what failed in ", record.write(["x"]) or "")
        self.assertEqual([], self.files())


class ListTest(FilesTestCase):
    def test_a_list_is_read_as_it_was_written(self) -> None:
        path = self.root / "lists" / "failed.txt"
        begin_failed_list(path)
        self.assertEqual([], self.files())
        write_failed_list(path, ["x::A.a", "y"])
        self.assertEqual("x::A.a\ny\n", path.read_text())
        self.assertEqual(("x::A.a", "y"), read_failed_list(path))

    def test_blanks_around_lines_and_empty_lines_mean_nothing(self) -> None:
        path = self.root / "failed.txt"
        path.write_text("\n x::A.a \r\n\n")
        self.assertEqual(("x::A.a",), read_failed_list(path))

    def test_an_old_list_is_gone_before_the_run(self) -> None:
        path = self.root / "failed.txt"
        path.write_text("old\n")
        begin_failed_list(path)
        self.assertFalse(path.exists())

    def test_lists_that_cannot_be_read_or_written(self) -> None:
        file = self.root / "file"
        file.write_bytes(b"\xff")
        cases = {
            lambda: read_failed_list(self.root / "none"): "No such file or directory",
            lambda: read_failed_list(file): "it is no text",
            lambda: begin_failed_list(file / "below"): "Not a directory",
            lambda: write_failed_list(self.root / "none" / "list", []): "No such file or directory",
        }
        for act, why in cases.items():
            with self.assertRaises(UsageError) as caught:
                act()
            self.assertRegex(str(caught.exception), rf"^cannot (read --failed-from|write --write-failed) '.*': {why}$")

    @given(st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)))
    def test_any_lines_come_back(self, lines: list[str]) -> None:
        path = self.root / "failed.txt"
        write_failed_list(path, lines)
        self.assertEqual(tuple(lines), read_failed_list(path))


if __name__ == "__main__":
    run_tests()
