"""The pipe from a rank to the controller: one line of JSON that says how the rank's test ended.

The rank's end writes and the controller's end reads without blocking, so that a rank which stops in the middle
of a message cannot hold the controller past the deadline.
"""

from __future__ import annotations

import os
from contextlib import suppress

from torch_testing_shim._engine.outcome import RankOutcome

__all__ = ["ChannelReader", "ChannelWriter", "make_channel"]

_READ_BYTES = 1 << 16


class ChannelWriter:
    """The rank's end; `parent_pipe` of upstream's `_run` and `run_test`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.sent: RankOutcome | None = None

    def send(self, outcome: RankOutcome) -> None:
        """Writes the outcome, blocking until the pipe has taken it. The last outcome that is sent counts.

        Raises:
            OSError: the pipe is closed.
        """
        line = outcome.to_json().encode("ascii") + b"\n"
        while line:
            line = line[os.write(self._descriptor, line) :]
        self.sent = outcome

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        """Closes the rank's end. Upstream's `run_test` does this; here the engine does, once the rank is done."""


class ChannelReader:
    """The controller's end."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._buffer = b""
        self.at_end = False

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> RankOutcome | None:
        """Takes what has arrived. Returns the last outcome whose line is complete, None where there is no new one.

        A line that is no outcome is passed over: nothing but the harness writes here on purpose, so it can only
        come from a test that writes to descriptors which are not its own.
        """
        try:
            while chunk := os.read(self._descriptor, _READ_BYTES):
                self._buffer += chunk
            self.at_end = True
        except BlockingIOError:
            pass
        *lines, self._buffer = self._buffer.split(b"\n")
        found = None
        for line in lines:
            with suppress(ValueError):
                found = RankOutcome.from_json(line.decode("ascii"))
        return found

    def close(self) -> None:
        os.close(self._descriptor)


def make_channel() -> tuple[ChannelReader, int]:
    """A new pipe: the controller's end, and the descriptor of the rank's end (close it once the rank has it)."""
    read_end, write_end = os.pipe()
    return ChannelReader(read_end), write_end
