"""A rank's process as its test's code in the controller sees it: with multiprocessing's names."""

from __future__ import annotations

import signal
import time

from torch_testing_shim._engine.running_ranks import RunningRanks

__all__ = ["RankProcess"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class RankProcess:
    """One rank's process, which has been started.

    Attributes:
        rank: the rank.
        name: upstream's, "process 0".
        pid: its process id.

    Args:
        ranks: those of its test.
        rank: the rank.
        deadline: when the test is out of time, on the monotonic clock, in seconds.
    """

    def __init__(self, ranks: RunningRanks, rank: int, deadline: float) -> None:
        self.rank = rank
        self.name = f"process {rank}"
        self.pid = ranks.pids[rank]
        self._ranks = ranks
        self._deadline = deadline

    @property
    def ident(self) -> int:
        return self.pid

    @property
    def exitcode(self) -> int | None:
        """None while it runs; then its exit code, negative for a signal.

        Raises:
            LaunchError: the process that the ranks were started from has died, and the ranks with it.
        """
        self._ranks.note_exits()
        return self._ranks.exit_codes.get(self.rank)

    def is_alive(self) -> bool:
        return self.exitcode is None

    def join(self, timeout: float | None = None) -> None:
        """Waits until it has ended, `timeout` seconds at most, and not beyond the test's deadline."""
        until = self._deadline if timeout is None else min(self._deadline, time.monotonic() + timeout)
        self._ranks.await_end(self.rank, until)

    def terminate(self) -> None:
        """Sends it SIGTERM; nothing happens where it has ended."""
        self._ranks.signal(self.rank, signal.SIGTERM, alone=True)

    def kill(self) -> None:
        """Sends it SIGKILL; nothing happens where it has ended."""
        self._ranks.signal(self.rank, signal.SIGKILL, alone=True)

    def close(self) -> None:
        """There is nothing to let go of: the test does it."""

    def __repr__(self) -> str:
        return f"<RankProcess {self.name!r} pid={self.pid} exitcode={self._ranks.exit_codes.get(self.rank)}>"
