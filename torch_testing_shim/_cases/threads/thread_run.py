"""One run of ranks that are threads: their worlds, their store, their process group, their verdict."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

import torch.distributed as dist
from torch._C._distributed_c10d import HashStore, Store

from torch_testing_shim._cases.threads.process_group import install_threaded_pg, uninstall_threaded_pg
from torch_testing_shim._cases.threads.thread_world import ThreadLocalWorld
from torch_testing_shim._engine.controller import raise_verdict
from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._engine.thread_ranks import ThreadRanks
from torch_testing_shim._engine.verdict import ExitExpectation

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


#: An exception, as `sys.exc_info` has it.
Failure = tuple[type[BaseException], BaseException, TracebackType | None]


class ThreadedRun:
    """One run of a test's ranks as threads: their worlds, their store, their verdict. `close` ends it."""

    def __init__(self, world_size: int, timeout: float, *, stops_at_subtest: bool = False) -> None:
        self._ranks = ThreadRanks(world_size, timeout, stops_at_subtest=stops_at_subtest)
        self._world_size = world_size
        self._world: ThreadLocalWorld | None = install_threaded_pg(self._ranks.rendezvous)
        self.store = HashStore()
        self.timeout = timeout
        self._outcomes: tuple[RankOutcome, ...] = ()

    @property
    def threads(self) -> list[threading.Thread]:
        return self._ranks.threads

    def start(self, body: Callable[[int], object]) -> None:
        """Start the ranks; each calls `body` with its number."""
        self._ranks.start(body)

    def wait(self) -> list[tuple[int, Failure]]:
        """Wait for the ranks and return the exceptions that they have ended with.

        Raises:
            RankError: they hung, or waited for each other.
        """
        try:
            self._outcomes = self._ranks.join()
        finally:
            self.close()
        if any(outcome.status.is_hang for outcome in self._outcomes):
            self.judge()
        errors = sorted(self._ranks.errors.items())
        return [(rank, (type(error), error, error.__traceback__)) for rank, error in errors]

    def judge(self) -> None:
        """Raise the verdict of the ranks.

        Raises:
            RankFailure: an assertion did not hold in a rank.
            RankError: the test ended in another bad way.
            unittest.SkipTest: every rank skipped.
        """
        self._ranks.errors.clear()
        raise_verdict(self._outcomes, ExitExpectation())

    def close(self) -> None:
        if self._world is not None:
            self._world = None
            try:
                self._ranks.close()
            finally:
                uninstall_threaded_pg()


@contextmanager
def threaded_process_group(rank: int, world_size: int, store: Store) -> Iterator[None]:
    """Context: the default group of this thread. Nothing is taken down if another test's turn has already begun."""
    world = dist.distributed_c10d._world
    dist.init_process_group("threaded", rank=rank, world_size=world_size, store=store)
    try:
        yield
    finally:
        if dist.distributed_c10d._world is world and dist.is_initialized():
            dist.destroy_process_group()
