"""`MultiThreadedTestCase`, whose ranks are threads of the test process, and a decorator for a single method."""

from __future__ import annotations

import functools
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Any

import torch.distributed as dist
from torch._C._distributed_c10d import HashStore, Store

from torch_testing_shim._cases.body import RankTestCase
from torch_testing_shim._cases.reused_ranks import say_not_reused
from torch_testing_shim._cases.threads.process_group import install_threaded_pg, uninstall_threaded_pg
from torch_testing_shim._cases.threads.thread_world import ThreadLocalWorld
from torch_testing_shim._cases.world import DEFAULT_WORLD_SIZE, default_world_size, seconds_for
from torch_testing_shim._engine.controller import checked_world_size, raise_verdict
from torch_testing_shim._engine.job import LaunchError
from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._engine.rank_steps import NO_MESSAGE, cleanup_steps, current_steps
from torch_testing_shim._engine.thread_ranks import ThreadRanks
from torch_testing_shim._engine.unrun_body import checked_step, checked_test
from torch_testing_shim._engine.verdict import ExitExpectation
from torch_testing_shim._program.notes import note_sharing
from torch_testing_shim._shared.setting_rows import DEFAULT_TIMEOUT_SECONDS

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


#: An exception, as `sys.exc_info` has it.
Failure = tuple[type[BaseException], BaseException, TracebackType | None]


class _ThreadedRun:
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
        """Raise the verdict of the ranks, as `raise_verdict` does."""
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
def _threaded_process_group(rank: int, world_size: int, store: Store) -> Iterator[None]:
    """Context: the default group of this thread. Nothing is taken down if another test's turn has already begun."""
    world = dist.distributed_c10d._world
    dist.init_process_group("threaded", rank=rank, world_size=world_size, store=store)
    try:
        yield
    finally:
        if dist.distributed_c10d._world is world and dist.is_initialized():
            dist.destroy_process_group()


class MultiThreadedTestCase(RankTestCase):
    """A test case whose methods run in `world_size` threads of the test process, with a process group between them
    (upstream's `MultiThreadedTestCase`, torch 2.13).

    A subclass calls `self._spawn_threads()` at the end of its `setUp`. `setUp` and `tearDown` run once, in the main
    thread; `perThreadSetUp` and `perThreadTearDown` run in each rank. Modules, globals and the CPU's random generator
    are shared by all ranks.

    Attributes:
        rank: the rank, or `MAIN_THREAD_RANK` in the main thread.
        threads: in the main thread, the ranks' threads.
        global_store: while the ranks run, the store that their process group was made with.
    """

    MAIN_THREAD_RANK = -1

    rank: int = MAIN_THREAD_RANK
    threads: list[threading.Thread]
    global_store: Store
    _ranks_are_processes = False
    _run_of_threads: _ThreadedRun | None = None

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return default_world_size()

    def join_or_run(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method that runs `fn` in a rank, and in the main thread waits for the ranks."""

        @functools.wraps(fn)
        def in_its_role(instance: MultiThreadedTestCase) -> Any:
            if instance.rank != self.MAIN_THREAD_RANK:
                return fn()
            if not getattr(instance, "threads", ()):
                raise self._no_rank("_spawn_threads")
            return instance._join_threads(instance.threads, fn)

        return types.MethodType(in_its_role, self)

    # In the main thread.

    @property
    def _current_test_name(self) -> str:
        return self._testMethodName

    def setUp(self) -> None:
        super().setUp()
        say_not_reused(type(self), "its ranks are threads")
        self.rank = self.MAIN_THREAD_RANK
        self.threads = []

    def tearDown(self) -> None:
        super().tearDown()
        self.threads = []

    def _spawn_threads(self) -> None:
        """Start the ranks.

        Raises:
            unittest.SkipTest: the test cannot run here, or would run on no rank.
            LaunchError: `world_size` is not an int.
        """
        self._require_set_up()
        name = self._current_test_name
        self._skip_by_conditions(name)
        world_size = checked_world_size(self.world_size)
        note_sharing(self, world_size)
        run = _ThreadedRun(world_size, seconds_for(self.id()), stops_at_subtest=self._stops_at_subtest)
        self.addCleanup(run.close)
        for attribute, value in (("global_store", run.store), ("_run_of_threads", run)):
            setattr(type(self), attribute, value)
            self.addCleanup(delattr, type(self), attribute)
        run.start(lambda rank: type(self)._run(name, rank, world_size))
        self.threads = run.threads

    @classmethod
    def _join_threads(cls, threads: list[threading.Thread], fn: Callable[..., Any]) -> None:
        """Wait for the ranks and raise their verdict, as `raise_verdict` does."""
        run = cls._run_of_threads
        if run is None or not {*threads} <= {*run.threads}:
            raise LaunchError(
                f"{cls.__name__} has other threads than this harness's: "
                "its _spawn_threads has to call super()._spawn_threads()"
            )
        cls._check_return_codes(run.wait(), run.timeout, fn)

    @classmethod
    def _check_return_codes(
        cls, failed_ranks: list[tuple[int, Failure]], timeout: float, fn: Callable[..., Any]
    ) -> None:
        """Raise the verdict of the ranks; `_join_threads` calls it when they have ended. A subclass that overrides it
        judges by `failed_ranks`, and its verdict counts, except after a hang.

        Args:
            failed_ranks: each rank that has ended with an exception, a skip included, and the exception.
            timeout: seconds that the test could take.
            fn: the test method.
        """
        assert cls._run_of_threads is not None, "ranks have been waited for"
        cls._run_of_threads.judge()

    # In a rank.

    def perThreadSetUp(self) -> None:
        """Run in each rank before the test, inside the process group. For subclasses to override."""

    def perThreadTearDown(self) -> None:
        """Run in each rank after the test, outside of the process group. For subclasses to override."""

    @classmethod
    def _run(cls, test_name: str, rank: int, world_size: int, **kwargs: Any) -> None:
        """Build the rank's instance and run the test on it. Subclasses override it to do more around the test."""
        self = cls(test_name)
        self.rank = rank
        self.run_test_with_threaded_pg(test_name, rank, world_size)

    def run_test_with_threaded_pg(self, test_name: str, rank: int, world_size: int) -> None:
        """Run the test method in this rank, with its set-up, its cleanups and its tear-down."""

        steps = current_steps()
        assert steps is not None, "a rank's thread has been started by ThreadRanks"

        def taken() -> Iterator[Callable[[], object]]:
            with _threaded_process_group(rank, world_size, type(self).global_store):
                yield checked_step(self.perThreadSetUp)
                if not steps.has_ended:
                    yield checked_test(getattr(self, test_name))
                yield from cleanup_steps(self)
            yield checked_step(self.perThreadTearDown)

        steps.take(taken())

    def assertEqualOnRank(self, x: Any, y: Any, msg: Any = None, *, rank: int = 0) -> None:
        """Call `assertEqual` on one rank alone, for tests that draw random numbers: all ranks share one generator."""
        if self.rank == rank:
            self.assertEqual(x, y, msg)

    def assertNotEqualOnRank(self, x: Any, y: Any, msg: Any = None, *, rank: int = 0) -> None:
        """Call `assertNotEqual` on one rank alone."""
        if self.rank == rank:
            self.assertNotEqual(x, y, msg)


def _subtest_of_rank(msg: Any = NO_MESSAGE, **params: Any) -> AbstractContextManager[None]:
    steps = current_steps()
    return nullcontext() if steps is None else steps.subtest(msg, params)


def spawn_threads_and_init_comms(
    func: Callable[..., Any] | None = None,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
    world_size: int = DEFAULT_WORLD_SIZE,
) -> Callable[..., Any]:
    """Run a test method in threads with a process group between them (upstream's name, torch 2.13). It suits methods of
    any test case; all ranks share the instance.

    Args:
        func: the method, where the decorator is used bare.
        timeout: seconds that it may take; 300 stands for the limit of every test
            (DISTRIBUTED_TESTS_DEFAULT_TIMEOUT).
        world_size: number of ranks.

    The decorated method raises what `MultiThreadedTestCase` does: `RankFailure`, `RankError`, `unittest.SkipTest`.
    """
    if func is None:
        return functools.partial(spawn_threads_and_init_comms, timeout=timeout, world_size=world_size)
    test = func

    @functools.wraps(test)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        size = checked_world_size(world_size)
        seconds = seconds_for(test.__name__) if timeout == DEFAULT_TIMEOUT_SECONDS else timeout
        run = _ThreadedRun(size, seconds, stops_at_subtest=getattr(self, "_stops_at_subtest", False))

        def body(rank: int) -> None:
            steps = current_steps()
            assert steps is not None, "a rank's thread has been started by ThreadRanks"
            with _threaded_process_group(rank, size, run.store):
                steps.take([functools.partial(checked_test(test), self, *args, **kwargs)])

        self.subTest = _subtest_of_rank  # unittest's would have all ranks share one state
        try:
            run.start(body)
            run.wait()
            run.judge()
        finally:
            del self.subTest
            run.close()

    return wrapper
