"""The started ranks of a test, which can be asked and signalled."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from torch_testing_shim._engine.channel import ChannelReader, make_channel
from torch_testing_shim._engine.job import LaunchError, RankJob, make_scratch_folder
from torch_testing_shim._engine.process_state import changes_since, environment_of, state_of_this_process
from torch_testing_shim._engine.rank_servers import ForkRefusedError, RankExit, RankServerClient
from torch_testing_shim._shared.owned_folders import remove_folder

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: How long ranks may take to end after their server has died, in seconds; it takes the kernel milliseconds.
_ORPHAN_SECONDS = 1.0
#: How long a rank that waits for another test may take to end, in seconds; it takes milliseconds.
_END_SECONDS = 1.0


class RunningRanks:
    """The started ranks of one test; a context manager that ends what still runs. `close` leaves no process and no
    descriptor. Ranks that take orders may be kept for another test, whose `RunningRanks` then takes them over.

    Attributes:
        jobs, pids, readers: their jobs, process ids, and the controller's ends of their channels, by rank.
        started: when each was started, in seconds of the monotonic clock, by rank.
        ends: of the ranks whose end is known, by rank.
        is_closed: the ranks have been ended, and their channels closed.
        are_kept: the ranks have told how the test ended, and wait for another.
        follows: names the tests that the ranks ran before, "Class.test_x and 2 before it"; empty where there is none.

    Args:
        jobs: one per rank, in order.
        server: starts them.
        owns_server: the server is for these ranks alone and ends with them.
        take_orders: the ranks can be kept for other tests.
    """

    def __init__(
        self,
        jobs: Sequence[RankJob],
        server: RankServerClient,
        *,
        owns_server: bool = False,
        take_orders: bool = False,
    ) -> None:
        self.jobs = tuple(jobs)
        self.pids: list[int] = []
        self.started: list[float] = []
        self.readers: list[ChannelReader] = []
        self.ends: dict[int, RankExit] = {}
        self.is_closed = False
        self._server = server
        self._owns_server = owns_server
        self._live: set[int] = set()
        self._takes_orders = take_orders
        self._lasting_folder: Path | None = None
        self._orders: list[socket.socket] = []
        self._state = server.state  # the ranks are in it when they take on the state of this process
        self.are_kept = False
        self.follows = ""
        self._tests_before = 0

    def start(self) -> None:
        """Start every rank, in the state that this process is in.

        Raises:
            ForkRefusedError: the server cannot fork; what was started has been ended.
            LaunchError: the system has no more processes or descriptors to give.
        """
        try:
            if self._takes_orders and self._lasting_folder is None:
                self._lasting_folder = make_scratch_folder().path
            state = state_of_this_process()
            changes = changes_since(self._state, state)
            self.jobs[0].folder.state.write_text(json.dumps(changes))
            for job in self.jobs:
                self.started.append(time.monotonic())
                reader, rank_end = make_channel()
                self.readers.append(reader)
                try:
                    self._order(job, rank_end) if job.rank in self._live else self._start_rank(job, rank_end)
                finally:
                    os.close(rank_end)
            self._state = self._state if self.follows else state
        except OSError as error:
            self.close()
            raise LaunchError(too_few(error, len(self.pids), len(self.jobs))) from None
        except BaseException:
            self.close()
            raise

    def _start_rank(self, job: RankJob, channel: int) -> None:
        if not self._takes_orders:
            self.pids.append(self._server.start_rank(job, channel))
        else:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._orders.append(ours)
            with theirs:
                descriptors = (*job.descriptors, theirs.fileno())
                reused = replace(job, lasting_folder=str(self._lasting_folder), descriptors=descriptors)
                self.pids.append(self._server.start_rank(reused, channel))
        self._live.add(job.rank)

    def _order(self, job: RankJob, channel: int) -> None:
        """Have a rank that was kept run another test."""
        text = replace(job, descriptors=()).to_json().encode("ascii")
        socket.send_fds(self._orders[job.rank], [text], [channel, *job.descriptors])

    def keep(self) -> None:
        """Keep the ranks, which all wait for another test, and close their channels."""
        self.are_kept = True
        self._close_readers()

    def let_end(self) -> None:
        """Let ranks that wait for another test end by themselves: killed with them, multiprocessing's resource tracker
        would not remove the segments of shared memory that their tests have left."""
        while self._orders:
            self._orders.pop().close()
        until = time.monotonic() + _END_SECONDS
        for rank in tuple(self._live):
            self.await_end(rank, until)

    def for_test(self, jobs: Sequence[RankJob]) -> RunningRanks | None:
        """Return these ranks, which are kept, for another test, not started yet; None where one of them has ended, or
        where the test needs others. They have then been handed over."""
        self.note_exits()
        if not self.are_kept or len(self._live) < len(self.jobs) or not self._suit(jobs):
            return None
        others = RunningRanks(jobs, self._server, owns_server=self._owns_server, take_orders=True)
        others.pids, others._live, others._orders = self.pids, self._live, self._orders
        others._state, others._lasting_folder = self._state, self._lasting_folder
        others._tests_before = self._tests_before + 1
        earlier = f" and {self._tests_before} before it" if self._tests_before else ""
        others.follows = f"{self.jobs[0].class_name}.{self.jobs[0].method}{earlier}"
        self._live, self._orders, self._owns_server, self._lasting_folder = set(), [], False, None
        return others

    def _suit(self, jobs: Sequence[RankJob]) -> bool:
        """Whether the jobs can be carried out by the processes of these ranks. Libraries read the environment once."""
        is_same = [job.process_needs for job in self.jobs] == [job.process_needs for job in jobs]
        return is_same and environment_of(self._state) == environment_of(state_of_this_process())

    @property
    def living(self) -> frozenset[int]:
        """The ranks whose end is not known."""
        return frozenset(self._live)

    @property
    def processes_left(self) -> int:
        """How many processes the ended ranks have left; these have been ended, too."""
        return sum(end.left for end in self.ends.values())

    @property
    def own_server(self) -> RankServerClient | None:
        """The server that is for these ranks alone, as long as they are kept."""
        return self._server if self._owns_server and self.are_kept else None

    @property
    def order_descriptors(self) -> frozenset[int]:
        """The descriptors that this process has open to order tests."""
        return frozenset(orders.fileno() for orders in self._orders)

    def exit_fileno(self) -> int:
        """The descriptor that becomes readable when a rank ends."""
        return self._server.fileno()

    def note_exits(self) -> None:
        """Add the ranks that have ended to `ends`, without waiting.

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
        """Wait until a rank has ended, or until `until`, on the monotonic clock."""
        while rank in self._live:
            self.note_exits()
            seconds = until - time.monotonic()
            if rank not in self._live or seconds <= 0:
                break
            select.select([self.exit_fileno()], [], [], seconds)

    def signal(self, rank: int, number: int, *, alone: bool = False) -> None:
        """Signal a rank, and unless `alone` its process group; nothing happens where it has ended."""
        if rank in self._live:
            self._server.signal(self.pids[rank], number, alone=alone)

    def kill(self) -> None:
        """Kill the ranks that still run, from whatever point the process has come to."""
        for rank in tuple(self._live):
            self.signal(rank, signal.SIGKILL)
        if self._owns_server:
            self._server.close()

    def close(self) -> None:
        """Kill the ranks that still run, wait for their end, and close the channels."""
        self.is_closed = True
        if self.are_kept:
            with suppress(LaunchError):
                self.let_end()
        self.kill()
        if self._owns_server or self.exit_fileno() < 0:  # a server that is closed has ended them
            self._live.clear()
        while self._live:
            select.select([self.exit_fileno()], [], [])
            try:
                self.note_exits()
            except LaunchError:
                self._await_orphans()
        self._close_readers()
        while self._orders:
            self._orders.pop().close()
        if self._lasting_folder is not None:
            remove_folder(self._lasting_folder)
            self._lasting_folder = None

    def _close_readers(self) -> None:
        while self.readers:
            self.readers.pop().close()

    def _await_orphans(self) -> None:
        """Wait for ranks whose server has died: the kernel kills them, but does not tell when it has."""
        give_up = time.monotonic() + _ORPHAN_SECONDS
        while time.monotonic() < give_up and any(os.path.exists(f"/proc/{self.pids[rank]}") for rank in self._live):
            time.sleep(0.01)
        self._live.clear()

    def __enter__(self) -> RunningRanks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def too_few(error: OSError, started: int, wanted: int) -> str:
    """Say that not all ranks could be started, and why."""
    return f"no more ranks could be started ({error.strerror}); {started} of {wanted} ranks were started"
