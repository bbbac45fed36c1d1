"""Starts ranks: forked from the zygote where that is safe, else from a fork server, and spawned where neither is safe.

`RankStarter` decides how, once per controller process, and says in one line why it cannot fork.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from torch_testing_shim._engine.devices import DeviceError, device_hazard, fork_hazard
from torch_testing_shim._engine.job import LaunchError, RankJob
from torch_testing_shim._engine.joined.world import JOINED
from torch_testing_shim._engine.module_questions import module_question
from torch_testing_shim._engine.preload import modules_to_preload, names_in_module
from torch_testing_shim._engine.rank_servers import (
    ForkRefusedError,
    RankServerClient,
    start_fork_server,
    start_supervisor,
    start_zygote,
)
from torch_testing_shim._engine.running_ranks import RunningRanks, too_few
from torch_testing_shim._shared.cores import core_count
from torch_testing_shim._shared.settings import read_settings
from torch_testing_shim._shared.standard_streams import open_standard_streams

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: A module that records the attributes of all that is imported, once for all ranks that compare them. It comes last.
_RECORDED_LIBRARIES = "torch_testing_shim._isolation.recorded_libraries"


def threads_per_rank(world_size: int) -> int | None:
    """Return the intra-op threads of each of `world_size` ranks here; None where the user has set them."""
    if read_settings().thread_caps_set:
        return None
    return max(1, core_count() // world_size)


class RankStarter:
    """Starts the ranks of this controller process; holds its zygote or fork server, and knows why it has none."""

    def __init__(self) -> None:
        self._zygote: RankServerClient | None = None
        self._not_served: set[str] = set()  # modules of tests for which no fork server can fork ranks
        self._ranks: RunningRanks | None = None  # those of the last test
        self._reuses = False  # they can be kept for another test
        self._test_modules: set[str] = set()
        self._prepared = False
        self._said: set[str] = set()
        self.kept_descriptors: Callable[[], frozenset[int]] = frozenset

    def expect(self, module: str) -> None:
        """Note that the module of this name defines tests with ranks."""
        self._test_modules.add(module)

    def prepare(self) -> None:
        """Fork the zygote once, if tests with ranks are expected and ranks are not to be spawned.

        Call it when the test modules are loaded and no test has run yet, since a test may start threads.
        """
        open_standard_streams()
        if (
            JOINED.world is not None
            or self._prepared
            or not self._test_modules
            or read_settings().start_method == "spawn"
        ):
            return
        self._prepared = True
        with suppress(ForkRefusedError, DeviceError):  # launch will try again, and say why
            self._start_zygote(self._test_modules)

    def renew(self) -> None:
        """Have the next ranks forked from a new zygote, which has what this process has by then. A fork server has none
        of it, and stays."""
        if self._zygote is not None and self._zygote.is_copy:
            self.close()

    def launch(self, jobs: Sequence[RankJob], *, reuses: bool = False) -> RunningRanks:
        """Start the ranks of one test, given their jobs in the order of ranks, after ending those of another that
        still run. Where it `reuses` ranks, take those of the test before if they were kept and suit, and start ranks
        that can be kept otherwise. Raise `LaunchError` where they cannot be started."""
        if reuses and (ranks := self._kept_for(jobs)) is not None:
            return ranks
        if self._ranks is not None:
            self._ranks.close()
        self._reuses = reuses
        if reuses:
            self._close_at_exit(os.getpid())  # where ranks are spawned, too
        method = read_settings().start_method
        if method != "spawn":
            try:
                if method != "fork" and (question := module_question(jobs[0].module)) is not None:
                    raise ForkRefusedError(question)
                return self._forked(jobs)
            except ForkRefusedError as error:
                if method == "fork":
                    raise LaunchError(f"ranks cannot be forked: {error}") from None
                self.say(f"ranks are spawned, not forked, which is slower: {error}")
        return self._spawned(jobs)

    @property
    def kept(self) -> tuple[frozenset[int], frozenset[int]]:
        """Process ids and descriptors that stay from test to test: the zygote's, and those of persistent ranks."""
        descriptors, servers = self.kept_descriptors(), [self._zygote]
        if self._ranks is not None:
            descriptors |= self._ranks.order_descriptors
            servers.append(self._ranks.own_server)
        found = [server for server in servers if server is not None]
        return frozenset(server.pid for server in found), descriptors.union(server.fileno() for server in found)

    def end_ranks(self) -> None:
        """End the ranks that still run or are kept."""
        if self._ranks is not None:
            self._ranks.close()
            self._ranks = None

    def close(self) -> None:
        """End the ranks that still run, and the zygote."""
        self.end_ranks()
        self._close_zygote()

    @functools.cache  # noqa: B019 - of the one starter
    def _close_at_exit(self, pid: int) -> None:
        atexit.register(lambda: self.close() if os.getpid() == pid else None)

    def abandon(self) -> None:
        """End ranks and zygote at whatever point the process is, as a signal handler has to."""
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

    def _kept_for(self, jobs: Sequence[RankJob]) -> RunningRanks | None:
        """Start the jobs in the ranks of the test before; None where these were not kept, do not suit or have
        ended."""
        with suppress(LaunchError):
            ranks = None if self._ranks is None else self._ranks.for_test(jobs)
            return None if ranks is None else self._started(ranks)
        return None

    def _made(self, jobs: Sequence[RankJob], server: RankServerClient, *, owns_server: bool = False) -> RunningRanks:
        return RunningRanks(jobs, server, owns_server=owns_server, take_orders=self._reuses)

    def _forked(self, jobs: Sequence[RankJob]) -> RunningRanks:
        """Fork ranks from the zygote, or from a fork server where there can be no zygote.

        Raises:
            ForkRefusedError: they cannot be forked; the message says why not from a zygote.
        """
        module = jobs[0].module
        try:
            return self._started(self._made(jobs, self._zygote_with(module)))
        except ForkRefusedError as error:
            self._close_zygote()
            if module in self._not_served or device_hazard() is not None:
                raise
            reason = error
        try:
            ranks = self._started(self._made(jobs, self._start_fork_server(jobs[0])))
        except ForkRefusedError:
            self._close_zygote()
            self._not_served.add(module)
            raise reason from None
        self.say(f"ranks are forked from a new interpreter, not from the test process: {reason}")
        return ranks

    def _spawned(self, jobs: Sequence[RankJob]) -> RunningRanks:
        try:
            supervisor = start_supervisor(jobs[0].folder)
        except OSError as error:
            raise LaunchError(too_few(error, 0, len(jobs))) from None
        try:
            return self._started(self._made(jobs, supervisor, owns_server=True))
        except ForkRefusedError as error:
            raise LaunchError(f"ranks cannot be started: {error}") from None

    def _zygote_with(self, module: str) -> RankServerClient:
        """Return the zygote or the fork server in its place; a new zygote where there is none, or where it was forked
        before `module` was loaded."""
        zygote = self._zygote
        if zygote is not None and (not zygote.is_usable or not zygote.can_have(module)):
            self._close_zygote()
            zygote = None
        if zygote is None:
            zygote = self._start_zygote({module, *self._test_modules})
        return zygote

    def _start_zygote(self, test_modules: Iterable[str]) -> RankServerClient:
        if (hazard := fork_hazard()) is not None:
            raise ForkRefusedError(hazard)
        return self._keep(start_zygote(_modules_to_preload(test_modules)))

    def _start_fork_server(self, job: RankJob) -> RankServerClient:
        if sys.platform != "linux":
            raise ForkRefusedError(f"fork is not safe on {sys.platform}")
        try:
            return self._keep(start_fork_server(job.folder, _modules_to_preload({job.module, *self._test_modules})))
        except OSError as error:
            raise LaunchError(too_few(error, 0, job.world_size)) from None

    def _keep(self, zygote: RankServerClient) -> RankServerClient:
        self._zygote = zygote
        self._close_at_exit(os.getpid())
        return zygote

    def say(self, line: str) -> None:
        """Say a line, once."""
        if line not in self._said:
            self._said.add(line)
            print(f"torch_testing_shim: {line}", file=sys.stderr, flush=True)


def _modules_to_preload(test_modules: Iterable[str]) -> tuple[str, ...]:
    modules = [sys.modules[name] for name in test_modules if name in sys.modules]
    found = modules_to_preload({name for module in modules for name in names_in_module(module)}, sys.modules)
    return (*found, _RECORDED_LIBRARIES) if read_settings().reuse_ranks else found


#: The one starter of this process; a zygote ends by itself when the process does.
STARTER = RankStarter()
