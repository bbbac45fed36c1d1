"""A started rank as its test's code sees it: with multiprocessing's names."""

from __future__ import annotations

import signal
import time

from torch_testing_shim._engine.running_ranks import RunningRanks

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class RankProcess:
    """A started rank's process as its test's code in the controller sees it: the names are multiprocessing's. The
    deadline is when the test is out of time, on the monotonic clock, in seconds."""

    def __init__(self, ranks: RunningRanks, rank: int, deadline: float) -> None:
        self.rank = rank
        self.name = f"process {rank}"  # upstream's
        self.pid = ranks.pids[rank]
        self._ranks = ranks
        self._deadline = deadline

    @property
    def ident(self) -> int:
        return self.pid

    @property
    def exitcode(self) -> int | None:
        """None while it runs; then its exit code, negative for a signal. Raise as `RunningRanks.note_exits`."""
        self._ranks.note_exits()
        return self._noted_exitcode

    @property
    def _noted_exitcode(self) -> int | None:
        end = self._ranks.ends.get(self.rank)
        return None if end is None else end.exit_code

    def is_alive(self) -> bool:
        return self.exitcode is None

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, `timeout` seconds at most, and not beyond the test's deadline."""
        until = self._deadline if timeout is None else min(self._deadline, time.monotonic() + timeout)
        self._ranks.await_end(self.rank, until)

    def terminate(self) -> None:
        """Send it SIGTERM, if it has not ended."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL, if it has not ended."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if not self._ranks.are_kept:  # for other tests: upstream's `tearDown` ends what a test has left
            self._ranks.signal(self.rank, number, alone=True)

    def close(self) -> None:
        """There is nothing to let go of: the test does it."""

    def __repr__(self) -> str:
        return f"<RankProcess {self.name!r} pid={self.pid} exitcode={self._noted_exitcode}>"
