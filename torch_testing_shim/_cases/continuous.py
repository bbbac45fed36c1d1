"""`MultiProcContinuousTest`: the tests of a class share their ranks and their process group."""

from __future__ import annotations

import functools
import inspect
import itertools
import os
import types
import unittest
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, ClassVar

import torch.distributed as dist
from torch._C._distributed_c10d import FileStore

from torch_testing_shim._cases.body import RankTestCase
from torch_testing_shim._cases.class_ranks import (
    PERSISTENT,
    UNSET,
    AnyRanks,
    OwnDevice,
    class_value,
    ranks_wanted,
    running_ranks_of,
    start_ranks_of,
)
from torch_testing_shim._cases.hooks import takes
from torch_testing_shim._cases.reused_ranks import say_not_reused
from torch_testing_shim._cases.world import group_timeout, leave_group_at_end, seconds_for
from torch_testing_shim._engine.channel import THIS_RANK
from torch_testing_shim._engine.controller import raise_verdict
from torch_testing_shim._engine.devices import bind_rank, device_in_use, process_group_backend, recorded_backend
from torch_testing_shim._engine.job import LaunchError
from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._engine.persistent_ranks import CompletionQueue, TaskQueue, full_name, method_in
from torch_testing_shim._engine.rank_outcomes import skip_outcome, skip_reason_at_end
from torch_testing_shim._engine.rank_process import RankProcess
from torch_testing_shim._engine.rank_steps import cleanup_steps, current_steps
from torch_testing_shim._engine.unrun_body import checked_test
from torch_testing_shim._engine.verdict import ExitExpectation
from torch_testing_shim._isolation.torch_state import set_rng_seed
from torch_testing_shim._program.entry import run_tests
from torch_testing_shim._program.notes import note_sharing
from torch_testing_shim._shared.settings import read_settings
from torch_testing_shim._skips.by_ranks import missing_backend, missing_device

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class MultiProcContinuousTest(RankTestCase):
    """A test case whose methods run, one after the other, in the same `world_size` processes, with a process group that
    is set up once (upstream's `MultiProcContinuousTest`, torch 2.13; `MultiProcContinousTest` in 2.4 to 2.6).

    The ranks start with the first test of the class and end after its last. After a failed test the next one gets new
    ranks. Whatever else a test leaves in a rank (state of modules, threads) is there for the next test. `setUp` and
    `tearDown` run in the controller alone.

    Attributes:
        rank: the rank, or `MAIN_PROCESS_RANK` in the controller.
        world_size: number of ranks; a class may set it, as a number or a property. By default one for each accelerator,
            or 4 on the CPU.
        device: the device of this rank.
        rdvz_file: path of the file that the process group meets in.
        pg: in a rank, the process group.
        processes: in the controller, the ranks' processes.
        timeout: how long a collective may take, where a class sets it; by default nearly as long as the test.
    """

    MAIN_PROCESS_RANK: ClassVar[int] = -1

    world_size: int = UNSET
    rank: int = UNSET
    rdvz_file: str | None = None
    timeout: timedelta = timedelta(seconds=120)
    pg: dist.ProcessGroup
    device: Any = OwnDevice()
    #: If a subclass sets it, no other test of it runs. A failure does not set it: the next test has new ranks.
    poison_pill: bool = False
    processes: Sequence[RankProcess] = ()
    _wrapper = "_worker_run_main_wait"
    _is_joined = True
    _ends_at_subtest = False
    #: Upstream's; torch's test cases on LocalTensor, which have no ranks, set it.
    _processes_spawned = False
    #: In a rank, runs the tests that are ordered.
    _work: Callable[[], None]

    # Overridden by subclasses.

    @classmethod
    def device_type(cls) -> str:
        """Return the type of the device in use; "cpu" where the ranks of the class can neither have one each nor share
        it."""
        device, ranks = device_in_use(), class_value(cls, "world_size")
        return device.type if ranks == UNSET or device.has_room_for(ranks) else "cpu"

    @classmethod
    def opts(cls, high_priority_stream: bool = False) -> Any:
        """Return options of the process group, as its backend takes them; None for none."""
        return None

    @classmethod
    def backend_str(cls) -> str | None:
        """Return the process-group backend; None for the one that fits the device."""
        return None

    @classmethod
    def _init_pg(cls, rank: int, world_size: int, rdvz_file: str | None) -> None:
        """Bind the rank to its device and set up the process group, in each rank before its first test. If it skips,
        all tests of the class do."""
        own = bind_rank(rank, str(class_value(cls, "device_type")))
        os.environ["LOCAL_RANK"] = str(rank if own.index is None else own.index)  # what torch takes a device by
        assert rdvz_file is not None, "ranks are started with a file to meet in"
        backend = class_value(cls, "backend_str")
        if backend is None:  # of an accelerator, torch takes the one registered for it
            backend = process_group_backend("cpu") if own.type == "cpu" else recorded_backend(own.type)
        dist.init_process_group(
            backend=backend,
            world_size=world_size,
            rank=rank,
            store=FileStore(rdvz_file, world_size),
            pg_options=cls.opts(),
            timeout=cls.timeout,
        )
        cls.pg = dist.distributed_c10d._get_default_group()

    # In the controller.

    def setUp(self) -> None:
        """Order the ranks to begin with the test.

        Raises:
            unittest.SkipTest: the test cannot run here, which is known without its ranks.
            LaunchError: the ranks cannot be started.
            ValueError: torch does not know the backend.
        """
        super().setUp()
        say_not_reused(type(self), "tests of this kind share their ranks anyway, with what they leave")
        self.rank = self.MAIN_PROCESS_RANK
        device_type = str(class_value(type(self), "device_type"))
        world_size = type(self)._get_world_size(device_type)
        self._skip_by_conditions(self._testMethodName)
        reason = missing_backend(class_value(type(self), "backend_str"), world_size)
        reason = reason or missing_device(device_type, world_size)
        if reason is not None:
            raise unittest.SkipTest(reason)
        if type(self).poison_pill:
            raise unittest.SkipTest(f"{type(self).__name__}.poison_pill is set: no other test of the class is to run")
        note_sharing(self, world_size)
        type(self)._ends_at_subtest = self._stops_at_subtest
        type(self)._ensure_processes_spawned()
        ranks = self._ranks()
        self._is_joined = False
        self.addCleanup(self._end_unjoined)
        ranks.order(self._testMethodName, seconds_for(self.id()))

    @classmethod
    def _get_world_size(cls, device_type: str) -> int:
        """Return the number of ranks."""
        return ranks_wanted(cls)

    @classmethod
    def _ensure_processes_spawned(cls) -> None:
        """Start the ranks, unless they are already waiting for orders."""
        if running_ranks_of(cls) is None:
            cls._spawn_processes(cls._get_world_size(str(class_value(cls, "device_type"))))

    @classmethod
    def _spawn_processes(cls, world_size: int) -> None:
        """Start the ranks."""
        ranks = start_ranks_of(cls, world_size, stops_at_subtest=cls._ends_at_subtest)
        cls.processes = ranks.processes

    def _ranks(self) -> AnyRanks:
        ranks = running_ranks_of(type(self))
        if ranks is None:
            name = type(self).__name__
            raise LaunchError(f"no rank was started: {name}._spawn_processes has to call super()._spawn_processes(n)")
        return ranks

    def _worker_run_main_wait(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method that runs `fn` in a rank, and in the controller waits for the ranks."""

        @functools.wraps(fn)
        def in_its_role(instance: MultiProcContinuousTest, *args: Any, **kwargs: Any) -> Any:
            return instance._join() if current_steps() is None else fn(*args, **kwargs)

        return types.MethodType(in_its_role, self)

    def _join(self) -> None:
        """Wait for the ranks and raise their verdict, as `raise_verdict` does."""
        self._require_set_up()
        ranks = PERSISTENT[type(self)]
        outcomes = ranks.outcomes()
        self._is_joined = True
        raise_verdict(outcomes, ExitExpectation())
        if read_settings().show_output and (printed := ranks.printed()):
            print(printed, flush=True)

    def _end_unjoined(self) -> None:
        """End ranks whose test nobody has waited for, so that its outcomes are not taken for the next one's."""
        if not self._is_joined and (ranks := PERSISTENT.get(type(self))) is not None:
            ranks.end_ranks()

    @classmethod
    def tearDownClass(cls) -> None:
        """End the ranks.

        Raises:
            RankError: one of them did not end well.
        """
        ranks = PERSISTENT.pop(cls, None)
        if ranks is not None:
            ranks.finish()
        super().tearDownClass()

    @classmethod
    def run_rank(cls, rank: int, world_size: int, rdvz_file: str | None = None) -> None:
        """Run the tests of the file with `world_size` ranks, whose processes the file starts (upstream's, torch 2.6).

        Each rank calls it, too, so a class may override it to do more around all tests of a rank. In the processes that
        the file itself starts, rank 0's runs the tests, which have ranks of the harness; under torchrun all do.

        Raises:
            SystemExit: as `run_tests` does.
        """
        if THIS_RANK.channel is not None:
            cls._work()
        elif rank == 0 or rdvz_file is None:
            cls.world_size = world_size
            run_tests()

    # In a rank.

    @classmethod
    def _run(
        cls, rank: int, test_name: str, file_name: str, parent_pipe: object, *, orders: str, world_size: int
    ) -> None:
        """Become a rank of the class and run the tests that are ordered."""
        channel = THIS_RANK.channel
        assert channel is not None, "tests are run in ranks"
        is_own = cls.timeout is not MultiProcContinuousTest.timeout
        cls.timeout = min(cls.timeout, group_timeout(test_name)) if is_own else group_timeout(test_name)
        with TaskQueue(os.path.join(orders, str(rank)), full_name(cls)) as tasks:
            queue = CompletionQueue(rank, channel)
            cls._work = functools.partial(cls._worker_loop, rank, world_size, file_name, tasks, queue)
            is_hook = inspect.ismethod(cls.run_rank) and takes(cls.run_rank, rank, world_size, file_name)
            cls.run_rank(rank, world_size, file_name) if is_hook else cls._work()

    @classmethod
    def _worker_loop(
        cls,
        rank: int,
        world_size: int,
        rdvz_file: str,
        task_queue: TaskQueue,
        completion_queue: CompletionQueue,
    ) -> None:
        """Set up the process group and run the tests that come from `task_queue`. Subclasses override it to do more
        around all tests of a rank."""
        cls.rank, cls.world_size, cls.rdvz_file = rank, world_size, rdvz_file
        reason = cls._reason_not_to_start()
        for test_id in task_queue:
            outcome = cls._outcome_of(reason, test_id)
            completion_queue.put(outcome)
            if outcome.status.is_bad:
                raise SystemExit(outcome.exit_code)
        leave_group_at_end()

    @classmethod
    def _reason_not_to_start(cls) -> str | None:
        """Set up the process group. Return why all tests have to skip, or None."""
        try:
            cls._init_pg(cls.rank, cls.world_size, cls.rdvz_file)
        except BaseException as end:
            if (reason := skip_reason_at_end(end)) is None:
                raise
            return reason
        return None

    @classmethod
    def _outcome_of(cls, reason_to_skip: str | None, test_id: str) -> RankOutcome:
        """Run a test and return its outcome. A `SystemExit` that does not mean a skip passes through."""
        if reason_to_skip is not None:
            return skip_outcome(cls.rank, reason_to_skip)
        steps = cls._steps(cls.rank, method_in(test_id, cls))
        return steps.take([functools.partial(cls._run_test_given_id, test_id)])

    @classmethod
    def _run_test_given_id(cls, test_id: str, **kwargs: Any) -> None:
        """Run the test of this id on a new instance, with its cleanups. `kwargs` go to the test method."""
        name = method_in(test_id, cls)
        self = cls(name)
        set_rng_seed()
        steps = current_steps()
        assert steps is not None, "a rank runs its test as one of its steps"
        body = functools.partial(checked_test(getattr(self, name)), **kwargs)
        steps.take(itertools.chain([body], cleanup_steps(self)))
