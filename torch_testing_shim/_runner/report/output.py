"""What files print, passed on while they run: streamed one after the other, or line by line with the file in front."""

from __future__ import annotations

from typing import BinaryIO, Protocol

from .floor import Floor

__all__ = ["OutputSpeaker", "ShownOutput"]

#: A line without an end is cut after this many bytes.
LINE_BYTES = 1 << 16


class OutputSpeaker(Protocol):
    """Where the output of one process goes."""

    def write(self, data: bytes) -> None:
        """The process has printed `data`."""

    def line(self, text: str) -> None:
        """A line about the process."""

    def finish(self) -> None:
        """The process has ended."""


class ShownOutput:
    """Where the output of all processes goes.

    Args:
        stream: what is written to, and flushed.
        is_prefixed: each line gets its file in front and is passed on at once; otherwise the processes wait for each
            other (see `floor`).
    """

    def __init__(self, stream: BinaryIO, *, is_prefixed: bool = False) -> None:
        self._stream = stream
        self._is_prefixed = is_prefixed
        self._floor = Floor(self._write)

    def join(self, file: str) -> OutputSpeaker:
        """A process of `file` starts."""
        return _PrefixedLines(file, self._floor) if self._is_prefixed else self._floor.join()

    def line(self, text: str) -> None:
        """A line about no single process."""
        self._floor.line(text)

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._stream.flush()


class _PrefixedLines:
    """Holds back a line until it is whole, so that lines of several processes do not mix."""

    def __init__(self, file: str, floor: Floor) -> None:
        self._prefix = f"[{file}] ".encode()
        self._floor = floor
        self._begun = b""

    def write(self, data: bytes) -> None:
        *whole, self._begun = (self._begun + data).split(b"\n")
        if len(self._begun) > LINE_BYTES:
            whole, self._begun = [*whole, self._begun], b""
        if whole:
            self._say(b"".join(self._prefix + line + b"\n" for line in whole))

    def line(self, text: str) -> None:
        self._floor.line(text)

    def finish(self) -> None:
        if self._begun:
            self.write(b"\n")

    def _say(self, data: bytes) -> None:
        speaker = self._floor.join()
        speaker.write(data)
        speaker.finish()
