"""Upstream's `common_distributed`: the base class of tests that run in several processes, and what decorates them.

A `MultiProcessTestCase` lives twice. In the controller it starts one process per rank for each test method, waits for
them and raises what their outcomes add up to. In each rank an instance of the same class runs the method.

What is not here is where `_distributed_names` says.
"""

from __future__ import annotations

import functools
import itertools
import types
import unittest
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist

from torch_testing_shim._backend_skips import (
    at_least_x_gpu,
    requires_accelerator_dist_backend,
    requires_gloo,
    requires_mpi,
    requires_nccl,
    requires_ucc,
    skip_if_lt_x_gpu,
    skip_if_win32,
)
from torch_testing_shim._continuous import MultiProcContinuousTest
from torch_testing_shim._distributed_names import LAZY_NAMES
from torch_testing_shim._engine.channel import ChannelWriter
from torch_testing_shim._engine.controller import RankError, RankFailure, TestRanks, checked_world_size, raise_verdict
from torch_testing_shim._engine.failure_text import left_text
from torch_testing_shim._engine.launcher import STARTER
from torch_testing_shim._engine.rank_outcomes import TEST_ERROR_EXIT_CODE
from torch_testing_shim._engine.rank_steps import RankSteps, cleanup_steps
from torch_testing_shim._engine.unrun_body import checked_test
from torch_testing_shim._engine.verdict import ExitExpectation
from torch_testing_shim._journal import RankRecord
from torch_testing_shim._multi_threaded import MultiThreadedTestCase, spawn_threads_and_init_comms
from torch_testing_shim._rank_free import skip_reason
from torch_testing_shim._rank_records import rank_records
from torch_testing_shim._settings import read_settings
from torch_testing_shim._skips import TEST_SKIPS, TestSkip
from torch_testing_shim._subtests import run_subtests
from torch_testing_shim._test_limits import DEFAULT_WORLD_SIZE, get_timeout
from torch_testing_shim._test_notes import note_sharing
from torch_testing_shim._upstream.graft import served
from torch_testing_shim._wrapped_method import chosen_name, is_expected_failure, no_rank, require_set_up, wrap_method
from torch_testing_shim.common_utils import TestCase, set_rng_seed

__all__ = [
    "DEFAULT_WORLD_SIZE",
    "TEST_SKIPS",
    "MultiProcContinousTest",
    "MultiProcContinuousTest",
    "MultiProcessTestCase",
    "MultiThreadedTestCase",
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
    "run_subtests",
    "skip_if_lt_x_gpu",
    "skip_if_win32",
    "spawn_threads_and_init_comms",
]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

MultiProcContinousTest = MultiProcContinuousTest  # torch 2.4's spelling


__getattr__ = served(__name__, LAZY_NAMES)


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


class MultiProcessTestCase(TestCase):
    """A test case whose methods run in `world_size` processes (upstream's `MultiProcessTestCase`, torch 2.13).

    A subclass calls `self._spawn_processes()` at the end of its `setUp`. Ranks get fresh processes for every test
    method; inside them neither `setUp` nor `tearDown` runs, and `self.rank` is the rank.

    A rank starts in the state that the test process has when `_spawn_processes` is called: its environment, working
    folder and the like, whatever changed them (`_engine.process_state.ProcessState` lists them). Modules and classes
    are in ranks as their import has left them: a global or a class attribute that `setUp`, `setUpClass` or a fixture
    sets is not there, as in upstream's ranks. A variable that a library reads when it is imported (TORCH_LOGS) has been
    read before, unless ranks are spawned.

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
    _ranks: TestRanks
    _rank_records: tuple[RankRecord, ...] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__module__.startswith(f"{__package__}."):
            STARTER.expect(cls.__module__)

    def __init__(self, method_name: str = "runTest", methodName: str = "runTest") -> None:
        name = chosen_name(method_name, methodName)
        super().__init__(name)
        wrap_method(self, name, self.join_or_run)

    @property
    def world_size(self) -> int:
        """Number of ranks: 4, or what WORLD_SIZE says; a subclass that overrides this fixes it."""
        return read_settings().world_size or DEFAULT_WORLD_SIZE

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
        def in_its_role(instance: MultiProcessTestCase) -> Any:
            return instance._join_processes(fn) if instance.rank == self.MAIN_PROCESS_RANK else fn()

        return types.MethodType(in_its_role, self)

    # In the controller.

    def setUp(self) -> None:
        super().setUp()
        self._ranks = TestRanks()
        self.addCleanup(self._ranks.close)
        self.file_name = str(self._ranks.scratch.rendezvous)
        self.rank = self.MAIN_PROCESS_RANK
        self.processes = []
        self.skip_return_code_checks = []
        self.special_return_code_checks = {}

    def _current_test_name(self) -> str:
        return self.id().rpartition(".")[2]

    def _spawn_processes(self) -> None:
        """Starts the ranks, in the way that is fastest and safe here.

        Raises:
            unittest.SkipTest: the test cannot run here, as is known without its ranks.
            LaunchError: the ranks cannot be started.
        """
        require_set_up(self)
        name = self._current_test_name()
        reason = skip_reason(self, getattr(type(self), name))
        if reason is not None:
            raise unittest.SkipTest(reason)
        world_size = checked_world_size(self.world_size)
        note_sharing(self, world_size)
        pids = self._ranks.start(
            type(self),
            name,
            world_size,
            timeout=get_timeout(self.id()),
            rendezvous_file=self.file_name,
            run_arguments={"fake_pg": getattr(self, "fake_pg", False)},
            stops_at_subtest=self._stops_at_subtest,
        )
        self.processes = [RankProcess(rank, pid) for rank, pid in enumerate(pids)]

    def _fork_processes(self) -> None:
        """Upstream's other way to start ranks; here both are the same."""
        self._spawn_processes()

    def _join_processes(self, fn: Callable[..., Any]) -> None:
        """Waits for the ranks and raises what they add up to.

        Raises:
            RankFailure: an assertion did not hold in a rank.
            RankError: the test ended in another bad way.
            unittest.SkipTest: every rank skipped.
            LaunchError: no rank was started.
        """
        require_set_up(self)
        if not self._ranks.are_started:
            raise no_rank(self, "_spawn_processes")
        expectation = ExitExpectation(
            code=self.special_return_code_checks.get(fn),
            ignored=fn in self.skip_return_code_checks,
        )
        outcomes = self._ranks.join(expectation)
        self._rank_records = rank_records(outcomes, self._ranks.started)
        for process, outcome in zip(self.processes, outcomes, strict=True):
            process.exitcode = outcome.exit_code
        raise_verdict(outcomes, expectation, self._ranks.processes_left)
        if read_settings().show_output:
            for text in filter(None, (self._ranks.printed(), left_text(self._ranks.processes_left))):
                print(text, flush=True)

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
        test = getattr(self, test_name)
        steps = RankSteps(
            self.rank,
            self.failureException,
            tell=lambda found: parent_pipe.send(found) if found.status.is_exception else None,
            tell_subtest=parent_pipe.send_subtest,
            is_expected=is_expected_failure(type(self), test_name),
        )
        outcome = steps.take(itertools.chain([checked_test(test)], cleanup_steps(self)))
        if not outcome.status.is_exception:  # which was sent at once: cleanups after it may take their time, or crash
            parent_pipe.send(outcome)
        if not outcome.status.is_bad:
            parent_pipe.await_others()
        if outcome.exit_code:
            raise SystemExit(outcome.exit_code)
        if self.destroy_pg_upon_exit and dist.is_initialized():
            dist.destroy_process_group()
