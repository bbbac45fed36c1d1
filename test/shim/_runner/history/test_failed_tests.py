"""Which tests failed, as lines, and which of them are remembered after the next run."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.history.failed_tests import (
    begin_failed_list,
    failed_lines,
    failures_known_after,
    read_failed_list,
    tests_by_file,
    write_failed_list,
)
from torch_testing_shim._runner.result import Failure, FileEnding, FileResult, RunSummary
from torch_testing_shim._runner.usage_error import UsageError
from torch_testing_shim._shared.journal import JournalEntry, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given

PASSED, FAILED = TestStatus.PASSED, TestStatus.FAILED


def ran(file: str, faults: tuple[str, ...] = (), *, is_stopped: bool = False, **tests: TestStatus) -> FileResult:
    """A file whose tests ended so; `A_a` stands for `A.a`."""
    return FileResult(
        FileEnding(file, 0, is_stopped=is_stopped),
        tuple(JournalEntry(name.replace("_", "."), status, 0.1) for name, status in tests.items()),
        tuple(Failure(file, test, "error", "why") for test in faults),
    )


class LinesTest(TestCase):
    def test_each_failure_is_a_line_once(self) -> None:
        summary = RunSummary((ran("x", ("A.c", "A.c"), A_a=FAILED, A_b=PASSED), ran("y", ("",))))
        self.assertEqual(("x::A.a", "x::A.c", "y"), failed_lines(summary))

    def test_a_fixture_stands_for_its_class_or_file_and_what_is_no_line_for_its_class(self) -> None:
        faults = ("A.setUpClass", "A.B.tearDownClass", "setUpModule", "A.test a", "A.B.test a\u2028b", "a b.test_c")
        self.assertEqual(("x::A", "x::A.B", "x", "x::A.test a"), failed_lines(RunSummary((ran("x", faults),))))

    def test_lines_by_file_where_the_whole_file_wins(self) -> None:
        lines = ["x::A.a", "y::B", "x::A.b", "y", "y::C.c", "z"]
        self.assertEqual({"x": ("A.a", "A.b"), "y": (), "z": ()}, tests_by_file(lines))


class MemoryTest(TestCase):
    def known_after(self, known: tuple[str, ...], *files: FileResult, whole: tuple[str, ...] = ()) -> tuple[str, ...]:
        return failures_known_after(known, RunSummary(files), whole)

    def test_what_ran_is_known_anew_and_the_rest_is_kept(self) -> None:
        known = ("other::C.c", "x::A.a", "x::A.b", "x::A.c")
        result = ran("x", A_a=PASSED, A_b=FAILED, A_d=FAILED)
        self.assertEqual(("other::C.c", "x::A.b", "x::A.c", "x::A.d"), self.known_after(known, result))

    def test_a_class_or_a_file_is_settled_by_any_test_of_it(self) -> None:
        known = ("x", "x::A", "x::AB", "y", "y::A")
        self.assertEqual(("x::AB", "y", "y::A"), self.known_after(known, ran("x", A_a=PASSED), ran("y")))

    def test_a_test_that_is_no_more_is_forgotten_when_its_whole_file_ran(self) -> None:
        known = ("x::A.gone", "y::A.gone")
        files = (ran("x", A_a=PASSED), ran("y", A_a=PASSED))
        self.assertEqual(("y::A.gone",), self.known_after(known, *files, whole=("x",)))

    def test_a_file_that_was_stopped_says_nothing_of_the_tests_that_it_did_not_reach(self) -> None:
        known = ("x::A.a", "x::A.b")
        result = ran("x", is_stopped=True, A_a=PASSED)
        self.assertEqual(("x::A.b",), self.known_after(known, result, whole=("x",)))

    def test_a_file_that_ran_in_parts_is_judged_by_all_of_them(self) -> None:
        known = ("x::A.a", "x::A.b")
        self.assertEqual(("x::A.b",), self.known_after(known, ran("x", A_a=PASSED), ran("x", A_b=FAILED), whole=("x",)))


class ListTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def files(self) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())

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
