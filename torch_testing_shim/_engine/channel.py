"""The pipe from a rank to the controller: a line of JSON for each subtest that fails, then one that says how the rank's
test ended.

The rank's end writes and the controller's end reads without blocking, so that a rank which stops in the middle
of a message cannot hold the controller past the deadline.
"""

from __future__ import annotations

import os
from contextlib import suppress

from torch_testing_shim._engine.common_end import CommonEnd
from torch_testing_shim._engine.outcome import RankOutcome

_READ_BYTES = 1 << 16
#: The longest line, in bytes. An outcome takes some 100 kB at most, a traceback of 200,000 characters in JSON's escapes
#: 2.4 MB.
_LINE_BYTES = 1 << 22
#: Bytes that are read at a time, so that a rank which writes without end cannot hold the controller.
_READ_AT_A_TIME = 1 << 22
#: Marks the outcome of a subtest.
_SUBTEST = b"+"


class ChannelWriter:
    """The rank's end.

    Attributes:
        sent: the last outcome that was sent.
        common_end: where the rank waits for the others once it is done; None where it does not.
    """

    def __init__(self, descriptor: int) -> None:
        self.common_end: CommonEnd | None = None
        self._descriptor = descriptor
        self._pid = os.getpid()
        self.sent: RankOutcome | None = None

    def send(self, outcome: RankOutcome) -> None:
        """Writes the outcome, blocking until the pipe has taken it. The last outcome that is sent counts. A process
        that a test has forked from its rank sends nothing.

        Raises:
            OSError: the pipe is closed.
        """
        if os.getpid() == self._pid:
            self._write(outcome)
            self.sent = outcome

    def send_subtest(self, outcome: RankOutcome) -> None:
        """Writes how a subtest ended, while its test goes on; otherwise as `send`."""
        if os.getpid() == self._pid:
            self._write(outcome, _SUBTEST)

    def _write(self, outcome: RankOutcome, mark: bytes = b"") -> None:
        # The first newline ends a line that a test may have begun.
        line = b"\n" + mark + outcome.to_json().encode("ascii") + b"\n"
        while line:
            line = line[os.write(self._descriptor, line) :]

    def await_others(self) -> None:
        """Waits a moment for the ranks that are not done yet. Call it in a rank that has sent a pass or a skip and
        still has its connections."""
        if self.common_end is not None:
            self.common_end.wait()


class ThisRank:
    """This process's state for its one test, where it is a rank.

    Attributes:
        channel: the pipe to the controller; None where the process is not a rank.
        has_run_body: the test method has been called, and has returned None.
    """

    def __init__(self) -> None:
        self.channel: ChannelWriter | None = None
        self.has_run_body = False


THIS_RANK = ThisRank()


class ChannelReader:
    """The controller's end.

    Attributes:
        at_end: the rank's end has been closed.
        subtests: the subtests that have failed so far.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._buffer = b""
        self.at_end = False
        self.subtests: list[RankOutcome] = []

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> RankOutcome | None:
        """Reads what has arrived. Returns the last outcome whose line is complete; None where there is no new one.

        Other lines are ignored: only the harness writes here on purpose, so they come from a test that writes to
        descriptors which are not its own.
        """
        with suppress(BlockingIOError):
            self.at_end = not self._read_some()
        *lines, self._buffer = self._buffer.split(b"\n")
        if len(self._buffer) > _LINE_BYTES:
            self._buffer = b""
        found = None
        for line in lines:
            with suppress(ValueError):
                outcome = RankOutcome.from_json(line.removeprefix(_SUBTEST).decode("ascii"))
                if line.startswith(_SUBTEST):
                    self.subtests.append(outcome)
                else:
                    found = outcome
        return found

    def _read_some(self) -> bool:
        """Reads into the buffer; False at the end of the pipe.

        Raises:
            BlockingIOError: all that was there has been read.
        """
        chunks = []
        try:
            for _ in range(_READ_AT_A_TIME // _READ_BYTES):
                chunks.append(os.read(self._descriptor, _READ_BYTES))
                if not chunks[-1]:
                    return False
        finally:
            self._buffer += b"".join(chunks)
        return True

    def close(self) -> None:
        os.close(self._descriptor)


def make_channel() -> tuple[ChannelReader, int]:
    """Makes a pipe. Returns the controller's end, and the descriptor of the rank's end (close it once the rank has
    it)."""
    read_end, write_end = os.pipe()
    return ChannelReader(read_end), write_end
