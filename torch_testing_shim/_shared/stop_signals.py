"""The signals by which people and machines stop a run: of a test file and of the runner. Standard library only."""

from __future__ import annotations

import os
import signal
import time

#: Ctrl-C, what CI systems and `timeout` send, and the end of the terminal.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Signals that come within this time are one, in seconds: of one Ctrl-C the terminal tells the whole process group, and
#: the program around it (`timeout`, `uv run`, `make`) passes it on. People take longer to ask again.
ONE_SECONDS = 0.5


class StopSignals:
    """The stop signals received so far."""

    def __init__(self) -> None:
        self.first: signal.Signals | None = None  # the first signal; None before
        self._first_at = 0.0
        self._terminals = [descriptor for descriptor in range(3) if os.isatty(descriptor)]

    def take(self, number: int) -> bool:
        """Record a signal; return True where it is not the first one."""
        if number == signal.SIGHUP:
            self._leave_lost_terminals()
        if self.first is not None:
            return time.monotonic() - self._first_at >= ONE_SECONDS
        self.first, self._first_at = signal.Signals(number), time.monotonic()
        return False

    def _leave_lost_terminals(self) -> None:
        """Print to nothing in place of a terminal that is gone, since printing there fails."""
        for descriptor in self._terminals:
            if not os.isatty(descriptor):
                nothing = os.open(os.devnull, os.O_RDWR)
                os.dup2(nothing, descriptor)
                os.close(nothing)
