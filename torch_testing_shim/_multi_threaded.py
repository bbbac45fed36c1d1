"""Tests whose ranks are threads of the test process: `MultiThreadedTestCase`, and a decorator for a single method."""

from __future__ import annotations

import functools
import threading
import types
import unittest
from collections.abc import Callable, Iterator
from typing import Any

import torch.distributed as dist
from torch._C._distributed_c10d import Store

from torch_testing_shim._engine.controller import checked_world_size
from torch_testing_shim._rank_free import skip_reason
from torch_testing_shim._settings import DEFAULT_TIMEOUT_SECONDS
from torch_testing_shim._test_limits import DEFAULT_WORLD_SIZE, get_timeout
from torch_testing_shim._test_notes import note_sharing
from torch_testing_shim._test_steps import cleanup_steps, take_steps
from torch_testing_shim._threaded_run import ThreadedRun, leave, threaded_process_group
from torch_testing_shim._wrapped_method import chosen_name, wrap_method
from torch_testing_shim.common_utils import TestCase

__all__ = ["MultiThreadedTestCase", "spawn_threads_and_init_comms"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class MultiThreadedTestCase(TestCase):
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
    _run_of_threads: ThreadedRun | None

    def __init__(self, method_name: str = "runTest", methodName: str = "runTest") -> None:
        name = chosen_name(method_name, methodName)
        super().__init__(name)
        wrap_method(self, name, self.join_or_run)

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return DEFAULT_WORLD_SIZE

    def join_or_run(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """A method that runs `fn` in a rank, and in the main thread waits for the ranks that do."""

        @functools.wraps(fn)
        def in_its_role(instance: MultiThreadedTestCase) -> None:
            if instance.rank == self.MAIN_THREAD_RANK:
                instance._join()
            else:
                fn()

        return types.MethodType(in_its_role, self)

    # In the main thread.

    @property
    def _current_test_name(self) -> str:
        return self.id().rpartition(".")[2]

    def setUp(self) -> None:
        super().setUp()
        self.rank = self.MAIN_THREAD_RANK
        self.threads = []
        self._run_of_threads = None

    def tearDown(self) -> None:
        super().tearDown()
        self.threads = []

    def _spawn_threads(self) -> None:
        """Starts the ranks.

        Raises:
            unittest.SkipTest: the test cannot run here, or would run on no rank.
            LaunchError: `world_size` is no int.
        """
        name = self._current_test_name
        reason = skip_reason(self, getattr(type(self), name))
        if reason is not None:
            raise unittest.SkipTest(reason)
        world_size = checked_world_size(self.world_size)
        note_sharing(self, world_size)
        run = self._run_of_threads = ThreadedRun(world_size, get_timeout(self.id()))
        self.addCleanup(run.close)
        type(self).global_store = run.store
        self.addCleanup(delattr, type(self), "global_store")
        run.start(lambda rank: type(self)._run(name, rank, world_size))
        self.threads = run.threads

    def _join(self) -> None:
        if self._run_of_threads is None:
            raise RuntimeError("no rank was started: setUp has to end with self._spawn_threads()")
        self._run_of_threads.join()

    # In a rank.

    def perThreadSetUp(self) -> None:
        """For subclasses: runs in each rank before the test, inside the process group."""

    def perThreadTearDown(self) -> None:
        """For subclasses: runs in each rank after the test, outside of the process group."""

    @classmethod
    def _run(cls, test_name: str, rank: int, world_size: int, **kwargs: Any) -> None:
        """Builds the rank's instance and runs the test on it. Subclasses override it to do more around the test."""
        self = cls(test_name)
        self.rank = rank
        self.run_test_with_threaded_pg(test_name, rank, world_size)

    def run_test_with_threaded_pg(self, test_name: str, rank: int, world_size: int) -> None:
        """Runs the test method in this rank, with its set-up, its cleanups and its tear-down.

        Raises:
            BaseException: the first that one of them raised.
        """

        def steps() -> Iterator[Callable[[], object]]:
            with threaded_process_group(rank, world_size, type(self).global_store):
                yield from self._test_steps(test_name, failures)
            yield self.perThreadTearDown

        failures: list[BaseException] = []
        world: Any = dist.distributed_c10d._world  # now: this thread may outlive the test

        def on_error(error: BaseException) -> None:
            failures.append(error)
            leave(world.meetings, rank, error)

        take_steps(steps(), on_error)

    def _test_steps(self, test_name: str, failures: list[BaseException]) -> Iterator[Callable[[], object]]:
        yield self.perThreadSetUp
        if not failures:
            yield getattr(self, test_name)
        yield from cleanup_steps(self)

    def assertEqualOnRank(self, x: Any, y: Any, msg: Any = None, *, rank: int = 0) -> None:
        """`assertEqual` on one rank alone, for what draws random numbers: all ranks share one generator."""
        if self.rank == rank:
            self.assertEqual(x, y, msg)

    def assertNotEqualOnRank(self, x: Any, y: Any, msg: Any = None, *, rank: int = 0) -> None:
        """`assertNotEqual` on one rank alone."""
        if self.rank == rank:
            self.assertNotEqual(x, y, msg)


def spawn_threads_and_init_comms(
    func: Callable[..., Any] | None = None,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
    world_size: int = DEFAULT_WORLD_SIZE,
) -> Callable[..., Any]:
    """Runs a test method in threads with a process group between them (upstream's name, torch 2.13). For methods of
    any test case; all ranks share its instance.

    Args:
        func: the method, where the decorator is used bare.
        timeout: seconds that it may take; 300 stands for what every test may take
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
        seconds = get_timeout(test.__name__) if timeout == DEFAULT_TIMEOUT_SECONDS else timeout
        run = ThreadedRun(size, seconds)

        def body(rank: int) -> None:
            with threaded_process_group(rank, size, run.store):
                take_steps([lambda: test(self, *args, **kwargs)], functools.partial(leave, run.meetings, rank))

        try:
            run.start(body)
            run.join()
        finally:
            run.close()

    return wrapper
