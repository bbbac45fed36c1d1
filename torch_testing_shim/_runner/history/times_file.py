"""The times file on the disk: read without ever failing a run, written as a whole or not at all.

A file that cannot be read as times counts as empty; a line says so, and the next run puts it aside instead of writing
over it. Runs that end at the same moment lose nothing of each other: each merges what it has into what is there.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ..usage_error import UsageError
from .times import Times, merge_times, parse_times
from .whole_file import write_whole

__all__ = ["merge_times_files", "read_times", "record_times"]

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
