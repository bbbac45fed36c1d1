"""A tree's memory of earlier runs, and how a run brings it up to date."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from torch_testing_shim._runner.history.times import FileTime, Times
from torch_testing_shim._runner.history.tree_history import (
    History,
    merge_times_files,
    read_failed,
    read_times,
    record_times,
    write_failed,
)
from torch_testing_shim._runner.plan.selection import FileSelection
from torch_testing_shim._runner.result import FileEnding, FileResult, RunSummary
from torch_testing_shim._runner.usage_error import UsageError
from torch_testing_shim._shared.journal import JournalEntry, RankRecord, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

X = FileSelection("x")
TWO_RANKS = tuple(RankRecord(rank, "passed") for rank in range(2))


def ran(**statuses: TestStatus) -> RunSummary:
    """A run of the file x, 4 s long, each of whose tests took 1.5 s on two ranks; `A_a` stands for `A.a`."""
    entries = [
        JournalEntry(name.replace("_", "."), status, 1.5, "why", started_at=101.0, ranks=TWO_RANKS)
        for name, status in statuses.items()
    ]
    return RunSummary((FileResult(FileEnding("x", 0, seconds=4.0, started_at=100.0), tuple(entries)),))


class HistoryTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.reports = Path(folder.name) / "test" / "test-reports"
        self.times_path = self.reports / "times.json"

    def read(self, *, needs_times: bool = True) -> History:
        history, notes = History.read(self.reports, self.times_path, needs_times=needs_times)
        self.assertEqual([], notes)
        return history

    def test_a_fresh_tree_remembers_nothing(self) -> None:
        history = self.read()
        self.assertEqual(((), Times()), (history.failed, history.times))

    def test_what_a_run_has_shown_is_there_for_the_next(self) -> None:
        self.assertEqual([], self.read().take(ran(A_a=TestStatus.PASSED, A_b=TestStatus.FAILED), {"x"}))
        history = self.read()
        self.assertEqual(("x::A.b",), history.failed)
        self.assertEqual({"x": 4.0}, history.times.expected([X, FileSelection("unknown")]))
        self.assertEqual({"x": 1.5}, history.times.expected([FileSelection("x", ("A.a",))]))
        self.assertEqual((2, 0), (history.times.of_file("x").ranks, history.times.of_file("unknown").ranks))
        self.assertEqual([], history.take(ran(A_b=TestStatus.PASSED), set()))
        self.assertEqual((), self.read().failed)

    def test_times_are_read_only_where_they_are_needed(self) -> None:
        self.times_path.parent.mkdir(parents=True)
        self.times_path.write_text("{damaged")
        self.assertEqual(Times(), self.read(needs_times=False).times)
        _, notes = History.read(self.reports, self.times_path, needs_times=True)
        self.assertEqual([f"the times file {str(self.times_path)!r} counts as empty: it is not JSON"], notes)

    def test_what_cannot_be_written_is_told_and_the_rest_is_written(self) -> None:
        (self.reports / "last-failed.json").mkdir(parents=True)
        history, _ = History.read(self.reports, self.times_path, needs_times=True)
        (problem,) = history.take(ran(A_a=TestStatus.FAILED), {"x"})
        self.assertIn("cannot record what failed in ", problem)
        self.assertEqual({"x": 4.0}, self.read().times.expected([X]))


ROOT = Path(__file__).resolve().parents[4]


def times(name: str, seconds: float = 1.0, at: float = 100.0) -> Times:
    return Times({name: FileTime(at, seconds)})


class TimesFileTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.path = self.folder / "below" / "times.json"

    def test_runs_add_to_it(self) -> None:
        self.assertEqual((Times(), ""), read_times(self.path))
        self.assertEqual([], record_times(self.path, times("test_x")))
        self.assertEqual([], record_times(self.path, times("test_y", 2.0)))
        expected = Times({"test_x": FileTime(100.0, 1.0), "test_y": FileTime(100.0, 2.0)})
        self.assertEqual((expected, ""), read_times(self.path))
        self.assertEqual([self.path], list(self.path.parent.iterdir()))

    def test_one_that_cannot_be_read_is_told_and_put_aside(self) -> None:
        self.path.parent.mkdir()
        self.path.write_bytes(b"\xff{")
        note = f"the times file {str(self.path)!r} counts as empty: it is not JSON"
        self.assertEqual((Times(), note), read_times(self.path))
        notes = record_times(self.path, times("test_x"))
        self.assertEqual([f"{note}; it was put aside as 'times.json.unreadable'"], notes)
        self.assertEqual((times("test_x"), ""), read_times(self.path))
        self.assertEqual(b"\xff{", Path(f"{self.path}.unreadable").read_bytes())

    def test_a_folder_in_its_place_is_no_times(self) -> None:
        self.path.mkdir(parents=True)
        self.assertEqual(
            (Times(), f"the times file {str(self.path)!r} counts as empty: Is a directory"), read_times(self.path)
        )

    def test_where_it_cannot_be_written_a_note_says_so(self) -> None:
        (self.folder / "file").touch()
        path = self.folder / "file" / "times.json"
        expected = f"the times file {str(path)!r} could not be written: File exists"
        self.assertEqual([expected], record_times(path, times("test_x")))

    def test_on_a_full_disk_the_old_times_stay(self) -> None:
        """The limit of a file's size stands for the full disk: either ends a write in an OSError."""
        record_times(self.path, times("test_x"))
        script = f"""
        import resource, signal
        from pathlib import Path
        from torch_testing_shim._runner.history.times import FileTime, Times
        from torch_testing_shim._runner.history.tree_history import record_times
        print(record_times(Path({str(self.path)!r}), Times({{"test_y": FileTime(100.0, 1.0)}})))
        """
        result = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=60,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20)),
        )
        self.assertEqual((0, ""), (result.returncode, result.stderr))
        self.assertIn("could not be written: File too large", result.stdout)
        self.assertEqual((times("test_x"), ""), read_times(self.path))
        self.assertEqual([self.path], list(self.path.parent.iterdir()))

    def test_runs_that_end_at_once_lose_nothing_of_each_other(self) -> None:
        script = f"""
        import sys
        from pathlib import Path
        from torch_testing_shim._runner.history.times import FileTime, Times
        from torch_testing_shim._runner.history.tree_history import record_times
        for number in range(25):
            assert not record_times(Path({str(self.path)!r}), Times({{sys.argv[1] + str(number): FileTime(1.0, 1.0)}}))
        """
        command = [sys.executable, "-c", textwrap.dedent(script)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        writers = [subprocess.Popen([*command, letter], env=env) for letter in "abc"]
        self.assertEqual([0, 0, 0], [writer.wait(60) for writer in writers])
        found, note = read_times(self.path)
        self.assertEqual((75, ""), (len(found.files), note))

    def test_several_are_merged_into_one(self) -> None:
        sources = [self.folder / name / "times.json" for name in ("one", "two")]
        record_times(sources[0], Times({"test_x": FileTime(100.0, 1.0), "test_y": FileTime(100.0, 1.0)}))
        record_times(sources[1], times("test_y", 3.0, at=200.0))
        self.assertEqual([], merge_times_files(sources, self.path))
        expected = Times({"test_x": FileTime(100.0, 1.0), "test_y": FileTime(200.0, 3.0)})
        self.assertEqual((expected, ""), read_times(self.path))

    def test_a_source_that_is_missing_or_broken_is_an_error(self) -> None:
        with self.assertRaisesRegex(UsageError, "there is no times file at '.*/none'"):
            merge_times_files([self.folder / "none"], self.path)
        (self.folder / "broken").write_text("{}")
        with self.assertRaisesRegex(UsageError, "the times file '.*/broken' counts as empty: it is not a times file"):
            merge_times_files([self.folder / "broken"], self.path)
        self.assertFalse(self.path.exists())


class RecordTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.reports = self.root / "test" / "test-reports"
        self.path = self.reports / "last-failed.json"

    def files(self) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())

    def test_what_was_written_is_read_and_nothing_lies_beside_it(self) -> None:
        self.assertEqual([], write_failed(self.reports, ["x::A.a", "y"]))
        self.assertEqual((("x::A.a", "y"), ""), read_failed(self.reports))
        self.assertEqual(["test/test-reports/last-failed.json"], self.files())

    def test_a_damaged_record_is_as_good_as_none_and_told(self) -> None:
        self.path.parent.mkdir(parents=True)
        for text in ("", "{", "[]", '{"failed": "x"}', '{"failed": [1]}', '{"failed": [""]}', "[" * 100_000, "\udc80"):
            self.path.write_text(text, errors="surrogateescape")
            expected = f"cannot read what failed last time from {str(self.path)!r}: it is damaged"
            self.assertEqual(((), expected), read_failed(self.reports), text[:20])
            self.assertEqual([], write_failed(self.reports, ["x"]))
            self.assertEqual((("x",), ""), read_failed(self.reports))

    def test_a_record_that_cannot_be_read_or_written_is_told(self) -> None:
        self.path.mkdir(parents=True)
        self.assertIn("last-failed.json': Is a directory", read_failed(self.reports)[1])
        self.assertIn("cannot record what failed in ", write_failed(self.reports, ["x"])[0])
        self.assertEqual([], self.files())


if __name__ == "__main__":
    run_tests()
