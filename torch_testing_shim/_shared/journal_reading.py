"""Read journals (see `journal`), including torn ones and those that are still being written."""

from __future__ import annotations

import json
import os
import stat
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from torch_testing_shim._shared.journal import JournalContents, JournalEntry, RankRecord, TestStatus
from torch_testing_shim._shared.records import read_record


@dataclass(frozen=True)
class JournalNews:
    """The entries that a journal has got since the last look."""

    entries: tuple[JournalEntry, ...] = ()  # the tests that have ended since then, in order of ending
    ended: int = 0  # how many have ended in all
    planned: int = 0  # how many are to run in all
    now: str = ""  # the test that started last and has not ended; "" for none
    device: str = ""  # the device type that the tests run on; "" while the process has not said it


@dataclass
class _Reading:
    planned: list[str] = field(default_factory=list)
    entries: list[JournalEntry] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    is_finished: bool = False
    broken_lines: int = 0
    device: str = ""
    interrupted: list[JournalEntry] = field(default_factory=list)
    left_out: int = 0

    def take_line(self, line: bytes) -> None:
        """Take a line, or count it as broken; an empty one says nothing."""
        if not line:
            return
        try:
            self._take(json.loads(line))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            self.broken_lines += 1

    def contents(self) -> JournalContents:
        read: dict[str, Any] = {}
        for name, value in vars(self).items():
            read[name] = tuple(value) if isinstance(value, list) else value
        return JournalContents(**read)

    def _take(self, record: dict[str, Any]) -> None:
        event = record["event"]
        if event == "plan":
            self.planned.extend(str(test) for test in record["tests"])
            self.device = str(record.get("device", self.device))
            self.left_out += int(record.get("left_out", 0))
        elif event == "start":
            self.unfinished.append(str(record["test"]))
        elif event == "end":
            entry = entry_of_end(record)
            self.entries.append(entry)
            if entry.test in self.unfinished:
                self.unfinished.remove(entry.test)
        elif event == "interrupt":
            self.interrupted.append(read_record(JournalEntry, record, status=TestStatus.ERROR, seconds=0.0))
        elif event == "finish":
            self.is_finished = True
        else:
            raise ValueError(event)


def entry_of_end(record: dict[str, Any]) -> JournalEntry:
    """The entry of an `end` line's object; it raises ValueError, KeyError or TypeError where that is damaged."""
    return read_record(
        JournalEntry,
        record,
        status=TestStatus(record["status"]),
        ranks=tuple(read_record(RankRecord, rank) for rank in record.get("ranks", ())),
        notes=tuple(str(note) for note in record.get("notes", ())),
    )


class JournalReader:
    """Reads a journal that is still being written, each line once. It has to be closed.

    A journal that was removed, replaced or emptied is read anew; one that is gone, or no file, is one broken line.

    Args:
        path: the journal's path; before there is a file, the journal is empty.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._descriptor = -1  # kept open, so that another file cannot get its inode number
        self._offset = 0
        self._torn = b""
        self._reading = _Reading()
        self._passed_on = 0  # how many entries have been passed on

    def close(self) -> None:
        """Close the file; what was read stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read_new(self) -> JournalNews | None:
        """The news since the last call; None where there are none. A last line without an end waits for its end."""
        return self._news() if self._read() else None

    def read_to_end(self) -> JournalNews | None:
        """The same of a journal that nobody writes to any more: its last line counts, whole or torn."""
        has_more = self._read() or bool(self._torn)
        self._reading.take_line(self._torn)
        self._torn = b""
        return self._news() if has_more else None

    def contents(self) -> JournalContents:
        """All that has been read."""
        return self._reading.contents()

    def _news(self) -> JournalNews:
        reading = self._reading
        new, self._passed_on = tuple(reading.entries[self._passed_on :]), len(reading.entries)
        now = reading.unfinished[-1] if reading.unfinished else ""
        return JournalNews(new, self._passed_on, len(reading.planned), now, reading.device)

    def _read(self) -> bool:
        """Take the whole lines that are new; True where anything is."""
        try:
            found = os.stat(self._path)
        except OSError:
            return self._descriptor >= 0 and self._is_lost()
        if not self._is_open_at(found):
            self._start_over()
            if not stat.S_ISREG(found.st_mode):
                return self._is_lost()
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if found.st_size <= self._offset:
            return False
        new = os.pread(self._descriptor, found.st_size - self._offset, self._offset)
        self._offset += len(new)
        *lines, self._torn = (self._torn + new).split(b"\n")
        for line in lines:
            self._reading.take_line(line)
        return True

    def _is_open_at(self, found: os.stat_result) -> bool:
        """True where the file at the path is the one that is being read, and has lost nothing."""
        if self._descriptor < 0 or found.st_size < self._offset:
            return False
        return os.path.samestat(found, os.fstat(self._descriptor))

    def _start_over(self) -> None:
        self.close()
        self._offset, self._torn, self._reading, self._passed_on = 0, b"", _Reading(), 0

    def _is_lost(self) -> bool:
        self._start_over()
        self._reading.broken_lines = 1
        return True


def read_journal(path: str | os.PathLike[str]) -> JournalContents:
    """Read a journal, also a torn one. A file that is not there is an empty journal. Other lines
    are counted in `broken_lines`, and the others still count."""
    with closing(JournalReader(path)) as reader:
        reader.read_to_end()
        return reader.contents()
