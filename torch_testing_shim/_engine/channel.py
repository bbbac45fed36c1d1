"""The pipe from a rank to the controller: a line of JSON for each subtest that fails, then one that says how the rank's
test ended. And the end itself: ranks that are done leave together.

The rank's end of the pipe writes and the controller's end reads without blocking, so that a rank which stops in the
middle of a message cannot hold the controller past the deadline.
"""

from __future__ import annotations

import functools
import os
import select
from contextlib import suppress
from os import getpid, write  # the functions themselves: a test may have replaced `os`'s
from weakref import WeakSet

from torch_testing_shim._engine.job import ScratchFolder
from torch_testing_shim._engine.outcome import RankOutcome

#: More than a pipe holds, so that one read takes all that is there. A rank that writes without end cannot hold the
#: controller.
_READ_BYTES = 1 << 20
#: The longest line, in bytes. An outcome takes some 100 kB at most, a traceback of 200,000 characters in JSON's escapes
#: 2.4 MB.
_LINE_BYTES = 1 << 22
#: Marks the outcome of a subtest.
_SUBTEST = b"+"
#: How long a rank that is done waits for the others, in seconds. Ranks that connect with each other were done up to
#: 0.12 s apart where 4 of them shared 2 cores with 20 busy processes, and 0.2 s where there were 16. A rank that waits
#: in vain for one that is done learns of it later by this time, and the watchdog's times have to stay within 2 s.
_PATIENCE_SECONDS = 0.5
#: The common ends of this process that are in use.
_COMMON_ENDS: WeakSet[CommonEnd] = WeakSet()


class ChannelWriter:
    """The rank's end."""

    def __init__(self, descriptor: int) -> None:
        #: Where the rank waits for the others once it is done; None where it does not.
        self.common_end: CommonEnd | None = None
        self._descriptor = descriptor
        self._pid = getpid()
        self.sent: RankOutcome | None = None  # the last outcome that was sent

    def send(self, outcome: RankOutcome) -> None:
        """Write the outcome, blocking until the pipe has taken it. The last outcome that is sent counts. A process
        that a test has forked from its rank sends nothing.

        Raises:
            OSError: the pipe is closed.
        """
        if getpid() == self._pid:
            self._write(outcome)
            self.sent = outcome

    def send_subtest(self, outcome: RankOutcome) -> None:
        """Write how a subtest ended, while its test goes on; otherwise as `send`."""
        if getpid() == self._pid:
            self._write(outcome, _SUBTEST)

    def _write(self, outcome: RankOutcome, mark: bytes = b"") -> None:
        # The first newline ends a line that a test may have begun.
        line = b"\n" + mark + outcome.to_json().encode("ascii") + b"\n"
        while line:
            line = line[write(self._descriptor, line) :]

    def close(self) -> None:
        """Close the rank's end, and let go of the common end."""
        if self.common_end is not None:
            self.common_end.close()
        os.close(self._descriptor)

    def await_others(self) -> None:
        """Wait a moment for the ranks that are not done yet. Call it in a rank that has sent a pass or a skip and
        still has its connections."""
        if self.common_end is not None:
            self.common_end.wait()


class ThisRank:
    """This process's state for its test, where it is a rank."""

    def __init__(self) -> None:
        self.channel: ChannelWriter | None = None  # the pipe to the controller; None where the process is not a rank
        self.has_run_body = False  # the test method has been called, and has returned None


THIS_RANK = ThisRank()


class ChannelReader:
    """The controller's end."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._buffer = b""
        self.at_end = False  # true once the rank's end has been closed
        self.subtests: list[RankOutcome] = []  # that have failed so far

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> RankOutcome | None:
        """Read what has arrived. Return the last outcome whose line is complete; None where there is no new one.

        Other lines are ignored: only the harness writes here on purpose, so they come from a test that writes to
        descriptors which are not its own.
        """
        with suppress(BlockingIOError):
            arrived = os.read(self._descriptor, _READ_BYTES)
            self.at_end = not arrived
            self._buffer += arrived
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

    def close(self) -> None:
        os.close(self._descriptor)


def make_channel() -> tuple[ChannelReader, int]:
    """Make a pipe. Return the controller's end, and the descriptor of the rank's end (close it once the rank has
    it)."""
    read_end, write_end = os.pipe()
    return ChannelReader(read_end), write_end


class CommonEnd:
    """A rank's part in the common end of a test's ranks: none of them closes its connections while another still makes
    them. A test that ends right after `init_process_group` ends in one rank before another has heard of its connection,
    which it would then find closed. Made before the test begins.

        each rank holds the writing end of a FIFO in the test's scratch folder until it is done
        a rank that is done waits for the end of the file: the others are done, too, or have ended

    A rank does not wait longer than a connection takes, nor where the test cannot pass any more: a rank that waits for
    one that is done has to learn of it. A rank that raises, dies or calls `os._exit` waits for nobody.
    """

    def __init__(self, folder: ScratchFolder) -> None:
        with suppress(FileExistsError):
            os.mkfifo(folder.common_end, 0o600)
        self._pid = getpid()
        self._reader = os.open(folder.common_end, os.O_RDONLY | os.O_NONBLOCK)
        self._writer = os.open(folder.common_end, os.O_WRONLY | os.O_NONBLOCK)
        self._is_held = True
        _COMMON_ENDS.add(self)
        _let_go_in_children()

    def wait(self) -> None:
        """Wait for the others, once. In a process that the test has forked from its rank it returns at once."""
        if not self._is_held or getpid() != self._pid:
            return
        self.let_go()
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.poll(_PATIENCE_SECONDS * 1000)
        self._close_reader()

    def close(self) -> None:
        """End the rank's part, without waiting."""
        self.let_go()
        self._close_reader()

    def _close_reader(self) -> None:
        if self._reader >= 0:
            with suppress(OSError):
                os.close(self._reader)
            self._reader = -1

    def let_go(self) -> None:
        """Close this process's writing end."""
        if self._is_held:
            self._is_held = False
            with suppress(OSError):  # the test has closed what it did not open
                os.close(self._writer)


@functools.cache
def _let_go_in_children() -> None:
    """Make processes that tests fork from this rank let go of its common end, since they may outlive the test."""
    os.register_at_fork(after_in_child=_let_go_here)


def _let_go_here() -> None:
    for end in _COMMON_ENDS:
        end.let_go()


def call_off_common_end(folder: ScratchFolder) -> None:
    """Make ranks that wait for the others leave at once; called by the controller."""
    with suppress(OSError):  # no rank has come so far, or all have left
        descriptor = os.open(folder.common_end, os.O_WRONLY | os.O_NONBLOCK)
        write(descriptor, b".")
        os.close(descriptor)
