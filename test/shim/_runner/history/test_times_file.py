"""The times file on the disk: whatever is wrong with it, a run goes on, and nothing is lost without a word."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from torch_testing_shim._runner.history.times import FileTime, Times
from torch_testing_shim._runner.history.times_file import merge_times_files, read_times, record_times
from torch_testing_shim._runner.usage_error import UsageError
from torch_testing_shim.common_utils import TestCase, run_tests

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
        from torch_testing_shim._runner.history.times_file import record_times
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
        from torch_testing_shim._runner.history.times_file import record_times
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


if __name__ == "__main__":
    run_tests()
