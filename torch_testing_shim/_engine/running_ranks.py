"""The started ranks of a test, which can be asked and signalled, and one of them with multiprocessing's names."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Sequence

from torch_testing_shim._engine.channel import ChannelReader, make_channel
from torch_testing_shim._engine.job import LaunchError, RankJob
from torch_testing_shim._engine.process_state import changes_since, state_of_this_process
from torch_testing_shim._engine.rank_servers import ForkRefusedError, RankExit, RankServerClient

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: How long ranks may take to end after their server has died, in seconds; it takes the kernel milliseconds.
_ORPHAN_SECONDS = 1.0


class RunningRanks:
    """The started ranks of one test; a context manager that ends what still runs. `close` leaves no process and no
    descriptor.

    Attributes:
        jobs, pids, readers: their jobs, process ids, and the controller's ends of their channels, by rank.
        started: when each was started, in seconds of the monotonic clock, by rank.
        ends: of the ranks whose end is known, by rank.
        is_closed: the ranks have been ended, and their channels closed.

    Args:
        jobs: one per rank, in order.
        server: starts them.
        owns_server: the server is for these ranks alone and ends with them.
    """

    def __init__(self, jobs: Sequence[RankJob], server: RankServerClient, *, owns_server: bool = False) -> None:
        self.jobs = tuple(jobs)
        self.pids: list[int] = []
        self.started: list[float] = []
        self.readers: list[ChannelReader] = []
        self.ends: dict[int, RankExit] = {}
        self.is_closed = False
        self._server = server
        self._owns_server = owns_server
        self._live: set[int] = set()

    def start(self) -> None:
        """Starts every rank, in the state that this process is in.

        Raises:
            ForkRefusedError: the server cannot fork; what was started has been ended.
            LaunchError: the system has no more processes or descriptors to give.
        """
        try:
            changes = changes_since(self._server.state, state_of_this_process())
            self.jobs[0].folder.state.write_text(json.dumps(changes))
            for job in self.jobs:
                self.started.append(time.monotonic())
                reader, rank_end = make_channel()
                self.readers.append(reader)
                try:
                    self.pids.append(self._server.start_rank(job, rank_end))
                finally:
                    os.close(rank_end)
                self._live.add(job.rank)
        except OSError as error:
            self.close()
            raise LaunchError(too_few(error, len(self.pids), len(self.jobs))) from None
        except BaseException:
            self.close()
            raise

    @property
    def living(self) -> frozenset[int]:
        """The ranks whose end is not known."""
        return frozenset(self._live)

    @property
    def processes_left(self) -> int:
        """How many processes the ended ranks have left; these have been ended, too."""
        return sum(end.left for end in self.ends.values())

    def exit_fileno(self) -> int:
        """The descriptor that becomes readable when a rank ends."""
        return self._server.fileno()

    def note_exits(self) -> None:
        """Adds the ranks that have ended to `ends`, without waiting.

        Raises:
            LaunchError: the process that the ranks were started from has died, and the ranks with it.
        """
        if not self._live:
            return
        try:
            exits = self._server.read_exits()
        except ForkRefusedError as error:
            raise LaunchError(str(error)) from None
        for end in exits:
            if end.rank in self._live and end.pid == self.pids[end.rank]:
                self.ends[end.rank] = end
                self._live.discard(end.rank)

    def await_end(self, rank: int, until: float) -> None:
        """Waits until a rank has ended, or until `until`, on the monotonic clock."""
        while rank in self._live:
            self.note_exits()
            seconds = until - time.monotonic()
            if rank not in self._live or seconds <= 0:
                break
            select.select([self.exit_fileno()], [], [], seconds)

    def signal(self, rank: int, number: int, *, alone: bool = False) -> None:
        """Signals a rank, and unless `alone` its process group; nothing happens where it has ended."""
        if rank in self._live:
            self._server.signal(self.pids[rank], number, alone=alone)

    def kill(self) -> None:
        """Kills the ranks that still run, from whatever point the process has come to."""
        for rank in tuple(self._live):
            self.signal(rank, signal.SIGKILL)
        if self._owns_server:
            self._server.close()

    def close(self) -> None:
        """Kills the ranks that still run, waits for their end, and closes the channels."""
        self.is_closed = True
        self.kill()
        if self._owns_server:
            self._live.clear()
        while self._live:
            select.select([self.exit_fileno()], [], [])
            try:
                self.note_exits()
            except LaunchError:
                self._await_orphans()
        while self.readers:
            self.readers.pop().close()

    def _await_orphans(self) -> None:
        """Waits for ranks whose server has died: the kernel kills them, but does not tell when it has."""
        give_up = time.monotonic() + _ORPHAN_SECONDS
        while time.monotonic() < give_up and any(os.path.exists(f"/proc/{self.pids[rank]}") for rank in self._live):
            time.sleep(0.01)
        self._live.clear()

    def __enter__(self) -> RunningRanks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def too_few(error: OSError, started: int, wanted: int) -> str:
    """Says that not all ranks could be started, and why."""
    return f"no more ranks could be started ({error.strerror}); {started} of {wanted} ranks were started"


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
        """None while it runs; then its exit code, negative for a signal. Raises as `RunningRanks.note_exits`."""
        self._ranks.note_exits()
        return self._noted_exitcode

    @property
    def _noted_exitcode(self) -> int | None:
        end = self._ranks.ends.get(self.rank)
        return None if end is None else end.exit_code

    def is_alive(self) -> bool:
        return self.exitcode is None

    def join(self, timeout: float | None = None) -> None:
        """Waits until it has ended, `timeout` seconds at most, and not beyond the test's deadline."""
        until = self._deadline if timeout is None else min(self._deadline, time.monotonic() + timeout)
        self._ranks.await_end(self.rank, until)

    def terminate(self) -> None:
        """Sends it SIGTERM, if it has not ended."""
        self._ranks.signal(self.rank, signal.SIGTERM, alone=True)

    def kill(self) -> None:
        """Sends it SIGKILL, if it has not ended."""
        self._ranks.signal(self.rank, signal.SIGKILL, alone=True)

    def close(self) -> None:
        """There is nothing to let go of: the test does it."""

    def __repr__(self) -> str:
        return f"<RankProcess {self.name!r} pid={self.pid} exitcode={self._noted_exitcode}>"
