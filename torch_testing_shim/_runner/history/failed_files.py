"""Where failed tests are kept between runs: the tree's own record, and the lists that the user writes and reads.

The record is `test/test-reports/last-failed.json`, written by every run; `--last-failed` and `--failed-first` read it.
A list is a text file with one `file::Class.test` on each line: `--write-failed` and `--failed-from`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..usage_error import UsageError, why
from .whole_file import write_whole

__all__ = ["FailedRecord", "begin_failed_list", "read_failed_list", "write_failed_list"]


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


def read_failed_list(path: Path) -> tuple[str, ...]:
    """The lines of a list that are not empty.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = why(error) if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"cannot read --failed-from {str(path)!r}: {reason}") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def begin_failed_list(path: Path) -> None:
    """Makes sure before a run that its list can be written, and takes an old one away: where the run is killed there
    is no list, for an empty one would say that nothing failed.

    Raises:
        UsageError: the list cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, [])
        path.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def write_failed_list(path: Path, lines: Sequence[str]) -> None:
    """Writes a list; an empty one where nothing failed.

    Raises:
        UsageError: it cannot be written any more.
    """
    try:
        write_whole(path, (f"{line}\n" for line in lines))
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write --write-failed {str(path)!r}: {why(error)}")


def _checked(record: object) -> tuple[str, ...]:
    lines = record["failed"] if isinstance(record, dict) and "failed" in record else None
    if not isinstance(lines, list) or not all(isinstance(line, str) and line for line in lines):
        raise ValueError("no list of failed tests")
    return tuple(lines)
