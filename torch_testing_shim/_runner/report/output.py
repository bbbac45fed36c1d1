"""The output of files, passed on while they run: streamed one after the other, or line by line with the file in front.

The multiplexer serialises the output of files that run at once: the oldest stream is live, and the others are buffered
until it has ended. Streams that have ended meanwhile come next.
"""

from __future__ import annotations

import tempfile
from typing import IO, BinaryIO

#: A line without an end is cut after this many bytes.
LINE_BYTES = 1 << 16
#: The part of a stream's buffer that stays in memory; more goes into a temporary file.
MEMORY_BYTES = 1 << 16
#: The largest buffer of a stream: the rest is left out, and a line says so. A file may print gigabytes.
BUFFER_BYTES = 1 << 26
CHUNK_BYTES = 1 << 16


class OutputStream:
    """One stream of a multiplexer, made by `OutputMultiplexer.open`."""

    def __init__(self, multiplexer: OutputMultiplexer) -> None:
        self._multiplexer = multiplexer
        self._buffer: IO[bytes] | None = None
        self._buffered = 0
        self._left_out = 0
        self._ends_line = True
        self._is_live = False
        self.has_finished = False

    def write(self, data: bytes) -> None:
        """Write `data`, now or when the stream is live."""
        if self._is_live:
            self._pass_on(data)
        else:
            self._keep(data)

    def line(self, text: str) -> None:
        """Write a line of its own, whatever was written before it."""
        start = "" if self._ends_line else "\n"
        self.write(f"{start}{text}\n".encode("utf-8", "backslashreplace"))

    def finish(self) -> None:
        """End the stream."""
        self.has_finished = True
        self._multiplexer.advance()

    def go_live(self) -> None:
        """For the multiplexer: write the buffer, and from now on whatever comes."""
        self._is_live = True
        if self._buffer is not None:
            self._buffer.seek(0)
            while chunk := self._buffer.read(CHUNK_BYTES):
                self._pass_on(chunk)
            self._buffer.close()
            self._buffer = None
        if self._left_out:
            note = f"... {self._left_out} bytes of output were left out here\n"
            self._pass_on((note if self._ends_line else f"\n{note}").encode())

    def end_line(self) -> None:
        """For the multiplexer: have the next stream start on a new line."""
        if not self._ends_line:
            self._pass_on(b"\n")

    def _pass_on(self, data: bytes) -> None:
        if data:
            self._ends_line = data.endswith(b"\n")
            self._multiplexer.write(data)

    def _keep(self, data: bytes) -> None:
        room = BUFFER_BYTES - self._buffered
        self._left_out += max(0, len(data) - room)
        kept = data[: max(0, room)]
        if not kept:
            return
        try:
            if self._buffer is None:
                self._buffer = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 - closed in go_live
            self._buffer.write(kept)
        except OSError:  # the disk is full: the run goes on, and the line about what is left out says it
            self._left_out += len(kept)
            return
        self._buffered += len(kept)
        self._ends_line = kept.endswith(b"\n")


class OutputMultiplexer:
    """Serialises streams: writes the live one to `target`, and flushes it."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._streams: list[OutputStream] = []

    def open(self) -> OutputStream:
        """One more stream; it is live at once where no other is."""
        stream = OutputStream(self)
        self._streams.append(stream)
        if len(self._streams) == 1:
            stream.go_live()
        return stream

    def line(self, text: str) -> None:
        """A line that belongs to no stream, written as soon as none is live."""
        stream = self.open()
        stream.line(text)
        stream.finish()

    def write(self, data: bytes) -> None:
        """For the live stream: write its bytes."""
        self._target.write(data)
        self._target.flush()

    def advance(self) -> None:
        """Make the next stream live, if the live one has ended."""
        while self._streams and self._streams[0].has_finished:
            self._streams.pop(0).end_line()
            self._streams.sort(key=lambda stream: not stream.has_finished)  # stable: otherwise by age
            if self._streams:
                self._streams[0].go_live()


class PrefixedLines:
    """Holds back a line until it is whole, so that lines of several processes do not mix; otherwise as a stream."""

    def __init__(self, file: str, multiplexer: OutputMultiplexer) -> None:
        self._prefix = f"[{file}] ".encode()
        self._multiplexer = multiplexer
        self._begun = b""

    def write(self, data: bytes) -> None:
        *whole, self._begun = (self._begun + data).split(b"\n")
        if len(self._begun) > LINE_BYTES:
            whole, self._begun = [*whole, self._begun], b""
        if whole:
            stream = self._multiplexer.open()
            stream.write(b"".join(self._prefix + line + b"\n" for line in whole))
            stream.finish()

    def line(self, text: str) -> None:
        self._multiplexer.line(text)

    def finish(self) -> None:
        if self._begun:
            self.write(b"\n")


#: The destination of the output of one process.
ProcessOutput = OutputStream | PrefixedLines
