"""The history of a tree: failures of the last run, and durations. It is read before a run and updated after it.

It lies in the tree's reports folder: `last-failed.json`, and `times.json` unless `--times` names another file. Both are
written as a whole or not at all, and neither can fail a run. A times file that cannot be read counts as empty; a line
says so, and the next run puts it aside instead of writing over it. Runs that end at the same moment lose nothing of
each other: each merges its durations into the file that is there.
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

from torch_testing_shim._shared.atomic_write import write_whole

from ..result import RunSummary
from ..usage_error import UsageError, why
from .failed_tests import failures_known_after
from .times import Times, merge_times, parse_times, times_of

#: Put behind the name of a file that is put aside.
ASIDE = ".unreadable"
#: The record of what failed, in the reports folder.
FAILED = "last-failed.json"


def read_times(path: Path) -> tuple[Times, str]:
    """Read the times file at `path`; return its content, and a one-line note where it cannot be read. A file that is
    not there has no times."""
    try:
        return parse_times(path.read_bytes()), ""
    except FileNotFoundError:
        return Times(), ""
    except (OSError, ValueError) as error:
        return Times(), f"the times file {str(path)!r} counts as empty: {_why(error)}"


def record_times(path: Path, new: Times) -> list[str]:
    """Merge `new` into the times file at `path`; make the folders that are missing.

    Returns:
        One-line notes about a file that could not be read and was put aside, or could not be written.
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
    """Merge times files into `target`, and its own content where it is there.

    Returns:
        One-line notes, as `record_times` returns them.
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
    """Lock the folder against other writers of times files."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks: the last writer wins, as everywhere on it
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _why(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def read_failed(reports: Path) -> tuple[tuple[str, ...], str]:
    """Return the tests that failed when they ran last, as sorted lines (see `failed_tests`), and one sentence where
    their record cannot be read, which then count as empty."""
    path = reports / FAILED
    try:
        return _checked(json.loads(path.read_text(encoding="utf-8"))), ""
    except FileNotFoundError:
        return (), ""
    except (OSError, ValueError, RecursionError) as error:
        reason = why(error) if isinstance(error, OSError) else "it is damaged"
        return (), f"cannot read what failed last time from {str(path)!r}: {reason}"


def write_failed(reports: Path, lines: Sequence[str]) -> list[str]:
    """Replace the record; return one sentence where that failed."""
    path = reports / FAILED
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, [json.dumps({"failed": list(lines)}, indent=1) + "\n"])
    except OSError as error:
        return [f"cannot record what failed in {str(path)!r}: {why(error)}"]
    return []


def _checked(record: object) -> tuple[str, ...]:
    lines = record["failed"] if isinstance(record, dict) and "failed" in record else None
    if not isinstance(lines, list) or not all(isinstance(line, str) and line for line in lines):
        raise ValueError("no list of failed tests")
    return tuple(lines)


@dataclass(frozen=True)
class History:
    """The history of the tree whose reports folder is `reports`."""

    reports: Path
    times_path: Path
    failed: tuple[str, ...] = ()  # the tests that failed when they ran last
    unread: str = ""  # one sentence where these could not be read, and count as none; else ""
    times: Times = field(default_factory=Times)  # the content of the times file

    @classmethod
    def read(cls, reports: Path, times_path: Path, *, needs_times: bool) -> tuple[History, list[str]]:
        """Read the history; return it and a sentence where the times file could not be read, which then count as
        empty."""
        times, note = read_times(times_path) if needs_times else (Times(), "")
        return cls(reports, times_path, *read_failed(reports), times), [note] if note else []

    def take(self, summary: RunSummary, whole_files: Collection[str]) -> list[str]:
        """Add a run to the history; return a sentence about each file that could not be written.

        Args:
            whole_files: the names of the files that ran as a whole.
        """
        problems = write_failed(self.reports, failures_known_after(self.failed, summary, whole_files))
        return [*problems, *record_times(self.times_path, times_of(summary, whole_files, time.time()))]
