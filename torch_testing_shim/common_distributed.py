"""Upstream's `common_distributed`: the base class of tests that run in several processes, and what decorates them.

A `MultiProcessTestCase` lives twice. In the controller it starts one process per rank for each test method, waits for
them and raises what their outcomes add up to. In each rank an instance of the same class runs the method.
"""

from __future__ import annotations

import functools
import itertools
import operator
import sys
import time
import types
import unittest
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed as dist

from torch_testing_shim._engine.channel import ChannelWriter
from torch_testing_shim._engine.devices import device_in_use, process_group_backend
from torch_testing_shim._engine.failure_text import failure_report, output_report
from torch_testing_shim._engine.job import RankJob, ScratchFolder
from torch_testing_shim._engine.launcher import (
    STARTER,
    LaunchError,
    RunningRanks,
    make_scratch_folder,
    remove_scratch_folder,
    threads_per_rank,
)
from torch_testing_shim._engine.outcome import ExitExpectation, RankOutcome, VerdictKind, verdict
from torch_testing_shim._engine.rank_main import (
    TEST_ERROR_EXIT_CODE,
    outcome_of_exception,
    pass_outcome,
    skip_outcome,
)
from torch_testing_shim._engine.watchdog import supervise
from torch_testing_shim._rank_free import skip_reason, skip_where
from torch_testing_shim._settings import read_settings
from torch_testing_shim._skips import TEST_SKIPS, TestSkip
from torch_testing_shim.common_utils import TestCase, set_rng_seed

__all__ = [
    "DEFAULT_WORLD_SIZE",
    "TEST_SKIPS",
    "MultiProcessTestCase",
    "RankError",
    "RankFailure",
    "RankProcess",
    "TestSkip",
    "at_least_x_gpu",
    "get_timeout",
    "requires_accelerator_dist_backend",
    "requires_gloo",
    "requires_mpi",
    "requires_nccl",
    "requires_ucc",
    "skip_if_lt_x_gpu",
    "skip_if_win32",
]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Test = TypeVar("Test")

#: Ranks of a test that does not say how many it wants.
DEFAULT_WORLD_SIZE = 4


class RankFailure(AssertionError):
    """An assertion did not hold in a rank. The message is the report over all ranks."""


class RankError(RuntimeError):
    """A rank raised another exception, died, hung or disagreed. The message is the report over all ranks."""


@dataclass
class RankProcess:
    """A rank's process as the controller's `self.processes` shows it.

    Attributes:
        rank: the rank.
        pid: its process id.
        exitcode: None while it runs; then its exit code, negative for a signal, as in multiprocessing.
    """

    rank: int
    pid: int
    exitcode: int | None = None


def get_timeout(test_id: str) -> float:
    """Seconds that the test may take (upstream's `get_timeout`, torch 2.13): DISTRIBUTED_TESTS_DEFAULT_TIMEOUT, 300 by
    default, for every `test_id`."""
    return read_settings().timeout_seconds


class MultiProcessTestCase(TestCase):
    """A test case whose methods run in `world_size` processes (upstream's `MultiProcessTestCase`, torch 2.13).

    A subclass calls `self._spawn_processes()` at the end of its `setUp`. Ranks get fresh processes for every test
    method; inside them neither `setUp` nor `tearDown` runs, and `self.rank` is the rank.

    Attributes:
        rank: the rank, or `MAIN_PROCESS_RANK` in the controller.
        file_name: path of the file in which the process group of the test's ranks meets.
        processes: in the controller, the ranks' processes.
        special_return_code_checks: test functions -> the exit code that their rank 0 has to end with.
        skip_return_code_checks: test functions whose ranks may end with any exit code.
    """

    MAIN_PROCESS_RANK = -1
    TEST_ERROR_EXIT_CODE = TEST_ERROR_EXIT_CODE

    rank: int = MAIN_PROCESS_RANK
    file_name: str
    processes: Sequence[RankProcess]
    special_return_code_checks: dict[Callable[..., Any], int]
    skip_return_code_checks: list[Callable[..., Any]]
    _running: RunningRanks | None = None
    _scratch: ScratchFolder | None = None
    _deadline: float = 0.0

    def __init__(self, method_name: str = "runTest", methodName: str = "runTest") -> None:  # noqa: N803
        name = methodName if methodName != "runTest" else method_name
        super().__init__(name)
        method = getattr(self, name, None)
        if method is not None:
            setattr(self, name, self.join_or_run(method))
        elif name != "runTest":
            raise ValueError(f"there is no test method {name!r} in {type(self)}")

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return DEFAULT_WORLD_SIZE

    @property
    def destroy_pg_upon_exit(self) -> bool:
        """Whether a rank destroys the process group that its test has left."""
        return True

    @property
    def is_master(self) -> bool:
        return self.rank == 0

    def join_or_run(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """A method that runs `fn` in a rank, and in the controller waits for the ranks that do."""

        @functools.wraps(fn)
        def wrapper(self: MultiProcessTestCase) -> None:
            if self.rank == self.MAIN_PROCESS_RANK:
                self._join_processes(fn)
            else:
                fn()

        return types.MethodType(wrapper, self)

    # In the controller.

    def setUp(self) -> None:
        super().setUp()
        self.special_return_code_checks = {}
        self.skip_return_code_checks = []
        self.processes = []
        self.pid_to_pipe: dict[int, object] = {}
        self.rank = self.MAIN_PROCESS_RANK
        self._scratch = make_scratch_folder()
        self.addCleanup(remove_scratch_folder, self._scratch)
        self.file_name = str(self._scratch.rendezvous)

    def _current_test_name(self) -> str:
        return self.id().rpartition(".")[2]

    def _spawn_processes(self) -> None:
        """Starts the ranks, in the way that is fastest and safe here.

        Raises:
            unittest.SkipTest: the test cannot run here, as is known without its ranks.
            LaunchError: the ranks cannot be started.
        """
        name = self._current_test_name()
        reason = skip_reason(self, getattr(type(self), name))
        if reason is not None:
            raise unittest.SkipTest(reason)
        world_size = self._checked_world_size()
        if world_size < 1:
            raise unittest.SkipTest(f"needs at least 1 {device_in_use().type}, found 0: world_size is {world_size}")
        self._deadline = time.monotonic() + get_timeout(self.id())
        self._running = STARTER.launch([self._job(name, rank, world_size) for rank in range(world_size)])
        self.addCleanup(self._running.close)
        self.processes = [RankProcess(rank, pid) for rank, pid in enumerate(self._running.pids)]

    def _fork_processes(self) -> None:
        """Upstream's other way to start ranks; here both are the same."""
        self._spawn_processes()

    def _checked_world_size(self) -> int:
        try:
            if isinstance(self.world_size, bool):
                raise TypeError
            return operator.index(self.world_size)
        except TypeError:
            raise LaunchError(f"world_size must be a positive int, not {self.world_size!r}") from None

    def _job(self, method: str, rank: int, world_size: int) -> RankJob:
        test_class = type(self)
        if "<locals>" in test_class.__qualname__:
            raise LaunchError(f"{test_class.__qualname__} is defined in a function, where ranks cannot find it by name")
        assert self._scratch is not None, "setUp makes the scratch folder"
        return RankJob(
            module=test_class.__module__,
            module_file=getattr(sys.modules.get(test_class.__module__), "__file__", None),
            class_name=test_class.__qualname__,
            method=method,
            rank=rank,
            world_size=world_size,
            scratch=str(self._scratch.path),
            rendezvous_file=self.file_name,
            threads=threads_per_rank(world_size),
            run_arguments={"fake_pg": getattr(self, "fake_pg", False)},
        )

    def _join_processes(self, fn: Callable[..., Any]) -> None:
        """Waits for the ranks and raises what they add up to.

        Raises:
            RankFailure: an assertion did not hold in a rank.
            RankError: the test ended in another bad way.
            unittest.SkipTest: every rank skipped.
        """
        if self._running is None:
            raise LaunchError("no rank was started: setUp has to end with self._spawn_processes()")
        expectation = self._exit_expectation(fn)
        with self._running as ranks:
            outcomes = supervise(ranks, self._deadline, expectation)
        for process, outcome in zip(self.processes, outcomes, strict=True):
            process.exitcode = outcome.exit_code
        self._raise_verdict(outcomes, expectation)

    def _exit_expectation(self, fn: Callable[..., Any]) -> ExitExpectation:
        return ExitExpectation(
            code=self.special_return_code_checks.get(fn),
            ignored=fn in self.skip_return_code_checks,
        )

    def _raise_verdict(self, outcomes: Sequence[RankOutcome], expectation: ExitExpectation) -> None:
        found = verdict(outcomes, expectation)
        if found.kind is VerdictKind.PASSED:
            self._show_output()
        elif found.kind is VerdictKind.SKIPPED:
            raise unittest.SkipTest(found.headline)
        else:
            kind = RankFailure if found.kind is VerdictKind.FAILED else RankError
            raise kind(failure_report(found, outcomes))

    def _show_output(self) -> None:
        if read_settings().show_output and self._scratch is not None:
            files = [(process.rank, self._scratch.output(process.rank)) for process in self.processes]
            printed = [(rank, path.read_text(errors="replace")) for rank, path in files if path.exists()]
            print(output_report([(rank, text) for rank, text in printed if text]), flush=True)

    # In a rank.

    @classmethod
    def _run(cls, rank: int, test_name: str, file_name: str, parent_pipe: ChannelWriter, **kwargs: Any) -> None:
        """Builds the rank's instance and runs the test on it. Subclasses override it to do more around the test."""
        self = cls(test_name)
        self.rank = rank
        self.file_name = file_name
        self.run_test(test_name, parent_pipe)

    def run_test(self, test_name: str, parent_pipe: ChannelWriter) -> None:
        """Runs the test method in this rank and reports how it ended.

        Raises:
            SystemExit: the test failed or skipped; what `_run` wanted to do after it is not done, as upstream.
        """
        set_rng_seed()
        outcome = self._observe(getattr(self, test_name))
        parent_pipe.send(outcome)
        if outcome.exit_code:
            raise SystemExit(outcome.exit_code)
        if self.destroy_pg_upon_exit and dist.is_initialized():
            dist.destroy_process_group()

    def _observe(self, test: Callable[[], object]) -> RankOutcome:
        """Runs the test and its cleanups and tells how they ended. A `SystemExit` passes through."""
        outcome = pass_outcome(self.rank)
        for step in itertools.chain([test], self._cleanup_steps()):
            try:
                step()
            except unittest.SkipTest as skip:
                outcome = skip_outcome(self.rank, str(skip))
            except Exception as error:
                if not outcome.status.is_exception:
                    outcome = outcome_of_exception(self.rank, error, self.failureException)
        return outcome

    def _cleanup_steps(self) -> Iterator[Callable[[], object]]:
        """The cleanups that the test has added, last first; asked for one by one, since each may add more."""
        while self._cleanups:
            function, args, kwargs = self._cleanups.pop()
            yield functools.partial(function, *args, **kwargs)


def at_least_x_gpu(x: int) -> bool:
    """True where at least `x` accelerators are found (upstream's `at_least_x_gpu`, torch 2.13). With the CPU chosen by
    hand, its ranks count instead, and there are always enough."""
    device = device_in_use()
    return device.count >= x or (device.is_cpu and device.chosen)


def skip_if_lt_x_gpu(x: int, *, allow_cpu: bool = False) -> Callable[[Test], Test]:
    """Skips a test where fewer than `x` accelerators are found (upstream's `skip_if_lt_x_gpu`, torch 2.13).

    Args:
        x: how many the test needs.
        allow_cpu: the test also runs on a machine that has none at all.

    With the CPU chosen by hand (TORCH_TESTING_SHIM_DEVICE=cpu) the test runs: CPU ranks count instead.
    """

    def condition(_: unittest.TestCase) -> str | None:
        device = device_in_use()
        if at_least_x_gpu(x) or (allow_cpu and device.count == 0):
            return None
        return f"needs at least {x} accelerators, found {device.count}"

    return skip_where(condition)  # type: ignore[return-value]


def requires_gloo() -> Callable[[Test], Test]:
    """Skips where torch was built without Gloo (upstream's `requires_gloo`, torch 2.13)."""
    return _skip_unless(dist.is_gloo_available(), "torch was built without Gloo")


def requires_nccl() -> Callable[[Test], Test]:
    """Skips where torch was built without NCCL (upstream's `requires_nccl`, torch 2.13)."""
    return _skip_unless(dist.is_nccl_available(), "torch was built without NCCL")


def requires_ucc() -> Callable[[Test], Test]:
    """Skips where torch was built without UCC (upstream's `requires_ucc`, torch 2.13)."""
    return _skip_unless(dist.is_ucc_available(), "torch was built without UCC")


def requires_mpi() -> Callable[[Test], Test]:
    """Skips where torch was built without MPI (upstream's `requires_mpi`, torch 2.13)."""
    return _skip_unless(dist.is_mpi_available(), "torch was built without MPI")


def requires_accelerator_dist_backend(backends: Sequence[str] | None = None) -> Callable[[Test], Test]:
    """Skips where no process-group backend for an accelerator is there (upstream's name, torch 2.13).

    Args:
        backends: names of the backends that would do; by default the one of the accelerator in use, whatever it is.
    """

    def condition(_: unittest.TestCase) -> str | None:
        if backends is not None:
            found = any(dist.is_backend_available(name) for name in backends)
            return None if found else f"needs one of the backends {', '.join(backends)}"
        device = device_in_use()
        found = not device.is_cpu and dist.is_backend_available(process_group_backend(device.type))
        return None if found else "needs an accelerator with a process-group backend"

    return skip_where(condition)  # type: ignore[return-value]


def skip_if_win32() -> Callable[[Test], Test]:
    """Skips on Windows (upstream's `skip_if_win32`, torch 2.13)."""
    return _skip_unless(sys.platform != "win32", "does not run on Windows")


def _skip_unless(condition: bool, reason: str) -> Callable[[Test], Test]:
    return unittest.skipUnless(condition, reason)  # type: ignore[return-value]
