"""What a tree remembers of earlier runs: what failed, and how long it took. Read before a run, updated after it.

It lies in `test/test-reports`, unless `--times` says where the times are. Nothing of it can fail a run.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..atomic_write import write_whole
from ..plan.selection import FileSelection
from ..result import RunSummary
from ..usage_error import UsageError, why
from .failed_tests import failures_known_after
from .times import Expected, Times, merge_times, parse_times, times_of

#: What is put behind the name of a file that is put aside.
ASIDE = ".unreadable"


def read_times(path: Path) -> tuple[Times, str]:
    """What the times file at `path` says, and a one-line note where it cannot be read. No file is no times."""
    try:
        return parse_times(path.read_bytes()), ""
    except FileNotFoundError:
        return Times(), ""
    except (OSError, ValueError) as error:
        return Times(), f"the times file {str(path)!r} counts as empty: {_why(error)}"


def record_times(path: Path, new: Times) -> list[str]:
    """Merges `new` into the times file at `path`; folders that are missing are made.

    Returns:
        One-line notes, of a file that could not be read and was put aside, or of one that could not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent):
            old, note = read_times(path)
            notes = []
            if note:
                os.replace(path, f"{path}{ASIDE}")
                notes.append(f"{note}; it was put aside as {path.name + ASIDE!r}")
            write_whole(path, [merge_times([old, new]).to_json()])
            return notes
    except OSError as error:
        return [f"the times file {str(path)!r} could not be written: {_why(error)}"]


def merge_times_files(sources: Sequence[Path], target: Path) -> list[str]:
    """Merges times files into `target`, which counts too where it is there.

    Returns:
        One-line notes, as those of `record_times`.

    Raises:
        UsageError: a source is not there or cannot be read; nothing has been written.
    """
    found = []
    for path in sources:
        times, note = read_times(path)
        if note or not path.exists():
            raise UsageError(note or f"there is no times file at {str(path)!r}")
        found.append(times)
    return record_times(target, merge_times(found))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Nobody else writes a times file in this folder meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks: the last writer wins, as everywhere on it
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _why(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


class FailedRecord:
    """What failed the last time that it ran, in a tree.

    Attributes:
        lines: `file::Class.test`, `file::Class` or `file`, sorted.
        problem: one sentence where the record could not be read, which is then as good as none; else None.
    """

    def __init__(self, reports: Path) -> None:
        """Reads the record in the folder `reports`."""
        self._path = reports / "last-failed.json"
        self.lines: tuple[str, ...] = ()
        self.problem: str | None = None
        try:
            self.lines = _checked(json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, RecursionError) as error:
            reason = why(error) if isinstance(error, OSError) else "it is damaged"
            self.problem = f"cannot read what failed last time from {str(self._path)!r}: {reason}"

    def write(self, lines: Sequence[str]) -> str | None:
        """Replaces the record at once, so that no reader sees half of it; returns one sentence where that failed."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, [json.dumps({"failed": list(lines)}, indent=1) + "\n"])
        except OSError as error:
            return f"cannot record what failed in {str(self._path)!r}: {why(error)}"
        return None


def _checked(record: object) -> tuple[str, ...]:
    lines = record["failed"] if isinstance(record, dict) and "failed" in record else None
    if not isinstance(lines, list) or not all(isinstance(line, str) and line for line in lines):
        raise ValueError("no list of failed tests")
    return tuple(lines)


@dataclass(frozen=True)
class History:
    """What is remembered.

    Attributes:
        failed: what failed the last time that it ran.
        times_path: the times file.
        times: what it says.
    """

    failed: FailedRecord
    times_path: Path
    times: Times = field(default_factory=Times)

    @classmethod
    def read(cls, reports: Path, times_path: Path, *, needs_times: bool) -> tuple[History, list[str]]:
        """Reads the history of a tree from its folder `reports`; returns it and sentences about what could
        not be read, which is then as good as none."""
        times, note = read_times(times_path) if needs_times else (Times(), "")
        return cls(FailedRecord(reports), times_path, times), [note] if note else []

    def expected(self, selected: Sequence[FileSelection]) -> Expected:
        """What earlier runs tell of the files that are to run."""
        known = {file.name: self.times.files[file.name] for file in selected if file.name in self.times.files}
        return Expected(
            seconds=self.times.expected(selected),
            tests={name: {test: time.seconds for test, time in file.tests.items()} for name, file in known.items()},
            ranks={name: file.ranks for name, file in known.items() if file.tests},
        )

    def take(self, summary: RunSummary, whole_files: Collection[str]) -> list[str]:
        """Writes down what a run has shown; returns sentences about what could not be written.

        Args:
            summary: the run.
            whole_files: the names of the files of which nothing was left out.
        """
        problem = self.failed.write(failures_known_after(self.failed.lines, summary, whole_files))
        times = times_of(summary, whole_files, time.time())
        return [*([problem] if problem is not None else []), *record_times(self.times_path, times)]
