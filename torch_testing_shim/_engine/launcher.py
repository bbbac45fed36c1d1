"""From jobs to running ranks: forked from the zygote where that is safe, spawned where it is not.

`RankStarter` decides how, once per controller process, and says in one line why when it cannot fork. `RunningRanks`
is what a started test has: it can be asked and signalled, and `close` leaves no process and no descriptor behind.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from torch_testing_shim._engine.channel import ChannelReader, make_channel
from torch_testing_shim._engine.devices import DeviceError, fork_hazard
from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.keeper_link import ForkRefusedError, KeeperLink, RankExit
from torch_testing_shim._engine.preload import modules_to_preload, names_in_module
from torch_testing_shim._engine.spawned import Supervisor
from torch_testing_shim._engine.zygote import Zygote
from torch_testing_shim._settings import read_settings

__all__ = [
    "STARTER",
    "LaunchError",
    "RankStarter",
    "RunningRanks",
    "threads_per_rank",
]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


#: How long ranks may take to end after their keeper has died, in seconds; it takes the kernel milliseconds.
_ORPHAN_SECONDS = 1.0


class LaunchError(RuntimeError):
    """A test's ranks could not be started; the message is one sentence."""


def threads_per_rank(world_size: int) -> int | None:
    """Intra-op threads of each of `world_size` ranks on this machine; None where the user has set them."""
    if read_settings().thread_caps_set:
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // world_size)


class RunningRanks:
    """The started ranks of one test; a context manager that ends what still runs.

    Attributes:
        jobs: their jobs, by rank.
        pids: their process ids, by rank.
        started: when each was started, in seconds of the monotonic clock, by rank.
        readers: the controller's ends of their channels, by rank.
        processes_left: how many processes the ranks that have ended have left; they have been ended, too.

    Args:
        jobs: one per rank, in order.
        keeper: what starts them.
        is_last_of_keeper: the keeper is for these ranks alone and ends with them.
    """

    def __init__(self, jobs: Sequence[RankJob], keeper: KeeperLink, *, is_last_of_keeper: bool = False) -> None:
        self.jobs = tuple(jobs)
        self.pids: list[int] = []
        self.started: list[float] = []
        self.readers: list[ChannelReader] = []
        self.processes_left = 0
        self._keeper = keeper
        self._is_last_of_keeper = is_last_of_keeper
        self._live: set[int] = set()

    def start(self) -> None:
        """Starts every rank.

        Raises:
            ForkRefusedError: the keeper cannot fork; what was started has been ended.
            LaunchError: the system has no more processes or descriptors to give.
        """
        try:
            for job in self.jobs:
                self.started.append(time.monotonic())
                reader, rank_end = make_channel()
                self.readers.append(reader)
                try:
                    self.pids.append(self._keeper.start_rank(job, rank_end))
                finally:
                    os.close(rank_end)
                self._live.add(job.rank)
        except OSError as error:
            self.close()
            raise LaunchError(_too_few(error, len(self.pids), len(self.jobs))) from None
        except BaseException:
            self.close()
            raise

    def exit_filenos(self) -> list[int]:
        """Descriptors that become readable when a rank ends."""
        return [self._keeper.fileno()]

    def read_exits(self) -> list[RankExit]:
        """The ranks that have ended since the last call, without waiting. If the keeper has died, all have."""
        try:
            exits = self._keeper.read_exits()
        except ForkRefusedError as error:
            raise LaunchError(str(error)) from None
        mine = [end for end in exits if end.rank in self._live]
        self.processes_left += sum(end.left for end in mine)
        self._live.difference_update(end.rank for end in mine)
        return mine

    def signal(self, rank: int, number: int, *, alone: bool = False) -> None:
        """Signals a rank, and unless `alone` its process group; nothing happens where it has ended."""
        if rank in self._live:
            self._keeper.signal(self.pids[rank], number, alone=alone)

    def kill(self) -> None:
        """Kills the ranks that still run, from whatever point the process has come to."""
        for rank in tuple(self._live):
            self.signal(rank, signal.SIGKILL)
        if self._is_last_of_keeper:
            self._keeper.close()

    def close(self) -> None:
        """Kills the ranks that still run, waits for their end, and closes the channels."""
        self.kill()
        if self._is_last_of_keeper:
            self._live.clear()
        while self._live:
            select.select(self.exit_filenos(), [], [])
            try:
                self.read_exits()
            except LaunchError:
                self._await_orphans()
        while self.readers:
            self.readers.pop().close()

    def _await_orphans(self) -> None:
        """Waits for ranks whose keeper has died: the kernel kills them, but tells nobody that it has."""
        give_up = time.monotonic() + _ORPHAN_SECONDS
        while time.monotonic() < give_up and any(os.path.exists(f"/proc/{self.pids[rank]}") for rank in self._live):
            time.sleep(0.01)
        self._live.clear()

    def __enter__(self) -> RunningRanks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _too_few(error: OSError, started: int, wanted: int) -> str:
    return f"no more ranks could be started ({error.strerror}); {started} of {wanted} ranks were started"


class RankStarter:
    """Starts ranks in this controller process: keeps its zygote, and knows why it has none."""

    def __init__(self) -> None:
        self._zygote: Zygote | None = None
        self._ranks: RunningRanks | None = None  # those of the last test
        self._test_modules: set[str] = set()
        self._prepared = False
        self._said: set[str] = set()
        self.kept_descriptors: Callable[[], frozenset[int]] = frozenset

    def expect(self, module: str) -> None:
        """Takes note that tests with ranks are defined in the module of this name."""
        self._test_modules.add(module)

    def prepare(self) -> None:
        """Forks the zygote if tests with ranks are expected; once, and not if ranks are to be spawned.

        To be called when the test modules are loaded and no test has run yet, since a test may start threads.
        """
        if self._prepared or not self._test_modules or read_settings().start_method == "spawn":
            return
        self._prepared = True
        with suppress(ForkRefusedError, DeviceError):  # launch will try again, and say why
            self._start_zygote(self._test_modules)

    def launch(self, jobs: Sequence[RankJob]) -> RunningRanks:
        """Starts the ranks of one test.

        Args:
            jobs: one per rank, in order.

        Raises:
            LaunchError: they could not be started.
        """
        method = read_settings().start_method
        if method != "spawn":
            try:
                return self._started(RunningRanks(jobs, self._zygote_with(jobs[0].module)))
            except ForkRefusedError as error:
                self._close_zygote()
                if method == "fork":
                    raise LaunchError(f"ranks cannot be forked: {error}") from None
                self._say(f"ranks are spawned, not forked, which is slower: {error}")
        return self._spawned(jobs)

    @property
    def kept(self) -> tuple[frozenset[int], frozenset[int]]:
        """Process ids and descriptors that stay from test to test: the zygote's, and those of ranks that are kept."""
        descriptors = self.kept_descriptors()
        if self._zygote is None:
            return frozenset(), descriptors
        return frozenset({self._zygote.pid}), descriptors | {self._zygote.fileno()}

    def close(self) -> None:
        """Ends the ranks that still run, and the zygote."""
        if self._ranks is not None:
            self._ranks.close()
            self._ranks = None
        self._close_zygote()

    def abandon(self) -> None:
        """Ends ranks and zygote from whatever point the process has come to, as a signal handler has to."""
        if self._ranks is not None:
            self._ranks.kill()
        self._close_zygote()

    def _close_zygote(self) -> None:
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    def _started(self, ranks: RunningRanks) -> RunningRanks:
        self._ranks = ranks
        ranks.start()
        return ranks

    def _spawned(self, jobs: Sequence[RankJob]) -> RunningRanks:
        try:
            supervisor = Supervisor.start(jobs[0].folder)
        except OSError as error:
            raise LaunchError(_too_few(error, 0, len(jobs))) from None
        try:
            return self._started(RunningRanks(jobs, supervisor, is_last_of_keeper=True))
        except ForkRefusedError as error:
            raise LaunchError(f"ranks cannot be started: {error}") from None

    def _zygote_with(self, module: str) -> Zygote:
        """The zygote; a new one where there is none, or where it was forked before `module` was loaded."""
        zygote = self._zygote
        if zygote is not None and (not zygote.is_usable or module not in zygote.modules):
            self._close_zygote()
            zygote = None
        if zygote is None:
            zygote = self._start_zygote({module})
        return zygote

    def _start_zygote(self, test_modules: Iterable[str]) -> Zygote:
        if (hazard := fork_hazard()) is not None:
            raise ForkRefusedError(hazard)
        modules = [sys.modules[name] for name in test_modules if name in sys.modules]
        names = {name for module in modules for name in names_in_module(module)}
        self._zygote = zygote = Zygote.start(modules_to_preload(names, sys.modules))
        atexit.register(zygote.close)
        return zygote

    def _say(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            print(f"torch_testing_shim: {line}", file=sys.stderr, flush=True)


#: The one starter of this process; a zygote ends by itself when the process does.
STARTER = RankStarter()
