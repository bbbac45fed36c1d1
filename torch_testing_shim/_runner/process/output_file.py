"""The output of a test file: a file that its processes write to, read as it grows, and kept small.

A test file may print gigabytes, faster than anybody reads them. So the part that was read is taken off the disk from
time to time. Where more comes than can be passed on, the middle is left out and a line says so. The end is always kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

#: The largest read part that stays on the disk, in bytes.
KEPT_BYTES = 1 << 24
#: The most that one look passes on, in bytes; the rest is left out.
LOOK_BYTES = 1 << 25
CHUNK_BYTES = 1 << 16
#: The part of the end that a report shows.
TAIL_BYTES, TAIL_LINES = 1 << 14, 60


class OutputFile:
    """The file at `path`, made anew.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        #: For a process's standard output and error. Writes go to the end of the file.
        self.descriptor = os.open(path, flags, 0o600)
        self._seen = 0
        self._tail = b""

    def read_new(self) -> Iterator[bytes]:
        """Read the output since the last call, in chunks."""
        size = os.fstat(self.descriptor).st_size
        if size < self._seen:  # the test file has truncated it
            self._seen = 0
        left_out = max(0, size - self._seen - LOOK_BYTES)
        if left_out:
            self._seen += left_out
            yield self._kept(f"\n... {left_out} bytes of output were left out here\n".encode())
        while chunk := os.pread(self.descriptor, min(CHUNK_BYTES, size - self._seen), self._seen):
            self._seen += len(chunk)
            yield self._kept(chunk)
        if self._seen > KEPT_BYTES:
            os.ftruncate(self.descriptor, 0)  # output since the last read goes too: it comes too fast to follow
            self._seen = 0

    def tail(self) -> str:
        """The last lines that were read."""
        return "\n".join(self._tail.decode(errors="replace").splitlines()[-TAIL_LINES:])

    def close(self) -> None:
        os.close(self.descriptor)

    def _kept(self, chunk: bytes) -> bytes:
        self._tail = (self._tail + chunk)[-TAIL_BYTES:]
        return chunk
