"""Reads journals (see `_journal`), also torn ones and those that are still being written."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field

from torch_testing_shim._journal import JournalContents, JournalEntry, RankRecord, TestStatus

__all__ = ["JournalReader", "read_journal"]


@dataclass
class _Reading:
    planned: list[str] = field(default_factory=list)
    entries: list[JournalEntry] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    is_finished: bool = False
    broken_lines: int = 0
    device: str = ""

    def take_line(self, line: bytes) -> None:
        """Takes a line, or counts it as broken; an empty one says nothing."""
        if not line:
            return
        try:
            self._take(json.loads(line))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            self.broken_lines += 1

    def contents(self) -> JournalContents:
        return JournalContents(
            tuple(self.planned),
            tuple(self.entries),
            tuple(self.running),
            self.is_finished,
            self.broken_lines,
            self.device,
        )

    def _take(self, record: dict[str, object]) -> None:
        event = record["event"]
        if event == "plan":
            self.planned.extend(str(test) for test in record["tests"])  # type: ignore[attr-defined]
            self.device = str(record.get("device", self.device))
        elif event == "start":
            self.running.append(str(record["test"]))
        elif event == "end":
            entry = _entry(record)
            self.entries.append(entry)
            if entry.test in self.running:
                self.running.remove(entry.test)
        elif event == "finish":
            self.is_finished = True
        else:
            raise ValueError(event)


def _entry(record: dict[str, object]) -> JournalEntry:
    return JournalEntry(
        test=str(record["test"]),
        status=TestStatus(record["status"]),
        seconds=_number(record["seconds"]),
        reason=str(record["reason"]),
        detail=str(record["detail"]),
        started_at=_number(record.get("started_at", 0.0)),
        ranks=tuple(_rank_record(rank) for rank in record.get("ranks", ())),  # type: ignore[attr-defined]
        notes=tuple(str(note) for note in record.get("notes", ())),  # type: ignore[attr-defined]
    )


def _rank_record(record: dict[str, object]) -> RankRecord:
    """Takes nothing on trust: a value of another type makes the line a broken one.

    Raises:
        KeyError, TypeError, ValueError: this is not the record of a rank.
    """
    made = RankRecord(**record)  # type: ignore[arg-type]
    if not all(isinstance(text, str) for text in (made.status, made.headline, made.output)):
        raise TypeError(record)
    for value in (made.rank, made.pid, made.started_at, made.seconds, made.exit_code or 0):
        _number(value)
    return made


def _number(value: object) -> float:
    """A finite number, as reports can draw it.

    Raises:
        TypeError, ValueError, OverflowError: it is none.
    """
    if not isinstance(value, int | float):
        raise TypeError(value)
    if not math.isfinite(value):
        raise ValueError(value)
    return float(value)


class JournalReader:
    """Reads a journal that is still being written, each line once.

    Args:
        path: the journal's path; where there is no file yet, the journal is empty.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._offset = 0
        self._torn = b""
        self._reading = _Reading()

    def read(self) -> JournalContents:
        """What the journal says by now. A last line that has no end yet is left for the next call."""
        try:
            with open(self._path, "rb") as stream:
                stream.seek(self._offset)
                new = stream.read()
        except FileNotFoundError:
            return self._reading.contents()
        self._offset += len(new)
        *lines, self._torn = (self._torn + new).split(b"\n")
        for line in lines:
            self._reading.take_line(line)
        return self._reading.contents()

    def read_to_end(self) -> JournalContents:
        """What a journal says that nobody writes to any more: its last line counts, whole or torn."""
        self.read()
        self._reading.take_line(self._torn)
        self._torn = b""
        return self._reading.contents()


def read_journal(path: str | os.PathLike[str]) -> JournalContents:
    """Reads a journal, also a torn one. A file that is not there is an empty journal; lines that are no journal
    lines are counted in `broken_lines`, and the others still count."""
    return JournalReader(path).read_to_end()
