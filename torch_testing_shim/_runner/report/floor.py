"""One speaker at a time: what files that run at once say stays in one piece each, and the first of them is heard live.

The oldest of the running speakers has the floor and is heard as it speaks. What the others say waits in a temporary
file until the floor is theirs. Those who have finished meanwhile go first.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from typing import IO

__all__ = ["Floor", "Speaker"]

#: What waits in memory, for each speaker; more goes into a temporary file.
MEMORY_BYTES = 1 << 16
#: What waits at most, for each speaker: the rest is left out, and a line says so. A file may print gigabytes.
WAITING_BYTES = 1 << 26
CHUNK_BYTES = 1 << 16


class Speaker:
    """One who wants the floor. Made by `Floor.join`."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._waiting: IO[bytes] | None = None
        self._waiting_size = 0
        self._left_out = 0
        self._ends_line = True
        self.has_floor = False
        self.has_finished = False

    def write(self, data: bytes) -> None:
        """Says `data`, now or when the floor is free."""
        with self._floor.lock:
            if self.has_floor:
                self._say(data)
            else:
                self._keep(data)

    def line(self, text: str) -> None:
        """Says a line of its own, whatever was said before it."""
        with self._floor.lock:
            start = "" if self._ends_line else "\n"
            self.write(f"{start}{text}\n".encode("utf-8", "backslashreplace"))

    def finish(self) -> None:
        """Has said everything."""
        with self._floor.lock:
            self.has_finished = True
            self._floor.pass_on()

    def take_floor(self) -> None:
        """For the floor: says what has waited."""
        self.has_floor = True
        if self._waiting is not None:
            self._waiting.seek(0)
            while chunk := self._waiting.read(CHUNK_BYTES):
                self._say(chunk)
            self._waiting.close()
            self._waiting = None
        if self._left_out:
            note = f"... {self._left_out} bytes of output were left out here\n"
            self._say((note if self._ends_line else f"\n{note}").encode())

    def leave_floor(self) -> None:
        """For the floor: whoever comes next starts on a new line."""
        if not self._ends_line:
            self._say(b"\n")

    def _say(self, data: bytes) -> None:
        if data:
            self._ends_line = data.endswith(b"\n")
            self._floor.say(data)

    def _keep(self, data: bytes) -> None:
        room = WAITING_BYTES - self._waiting_size
        self._left_out += max(0, len(data) - room)
        kept = data[: max(0, room)]
        if not kept:
            return
        try:
            if self._waiting is None:
                self._waiting = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 - closed in take_floor
            self._waiting.write(kept)
        except OSError:  # the disk is full: the run goes on, and the line about what is left out says it
            self._left_out += len(kept)
            return
        self._waiting_size += len(kept)
        self._ends_line = kept.endswith(b"\n")


class Floor:
    """Who may speak.

    Args:
        say: writes what is said.
    """

    def __init__(self, say: Callable[[bytes], object]) -> None:
        self.say = say
        self.lock = threading.RLock()
        self._speakers: list[Speaker] = []

    def join(self) -> Speaker:
        """One more speaker; it has the floor at once where nobody else has."""
        with self.lock:
            speaker = Speaker(self)
            self._speakers.append(speaker)
            if len(self._speakers) == 1:
                speaker.take_floor()
            return speaker

    def line(self, text: str) -> None:
        """A line that belongs to no speaker, said as soon as the floor is free."""
        speaker = self.join()
        speaker.line(text)
        speaker.finish()

    def pass_on(self) -> None:
        """Gives the floor to the next, if the one who had it has finished."""
        while self._speakers and self._speakers[0].has_finished:
            self._speakers.pop(0).leave_floor()
            self._speakers.sort(key=lambda speaker: not speaker.has_finished)  # stable: otherwise by age
            if self._speakers:
                self._speakers[0].take_floor()
