"""`MultiProcessTestCase`: tests that run in several processes, new ones for each test.

In the controller it starts one process per rank for each test method, waits for them and raises the verdict on their
outcomes. In each rank an instance of the same class runs the method.
"""

from __future__ import annotations

import functools
import itertools
import types
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from torch_testing_shim._cases.awaited_ranks import AwaitedRanks
from torch_testing_shim._cases.hooks import RankCall, calls_of_its_own, is_overridden, make_pipes
from torch_testing_shim._cases.rank_keeper import RankKeeper
from torch_testing_shim._cases.reused_ranks import may_reuse
from torch_testing_shim._cases.world import default_world_size, leave_group_at_end, seconds_for
from torch_testing_shim._engine.channel import THIS_RANK
from torch_testing_shim._engine.controller import checked_world_size
from torch_testing_shim._engine.job import LaunchError, RankJob
from torch_testing_shim._engine.joined.launched_ranks import test_ranks
from torch_testing_shim._engine.rank_outcomes import TEST_ERROR_EXIT_CODE
from torch_testing_shim._engine.rank_process import RankProcess
from torch_testing_shim._engine.rank_steps import cleanup_steps
from torch_testing_shim._engine.unrun_body import checked_test
from torch_testing_shim._isolation.torch_state import set_rng_seed
from torch_testing_shim._program.notes import note_sharing
from torch_testing_shim._shared.settings import read_settings

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Length of a traceback's end that goes into a pipe; unread, it holds some 200 kB.
_PIPE_CHARACTERS = 32_000


class MultiProcessTestCase(AwaitedRanks):
    """A test case whose methods run in `world_size` processes (upstream's `MultiProcessTestCase`, torch 2.13).

    A subclass calls `self._spawn_processes()` at the end of its `setUp`. Ranks get fresh processes for every test
    method; inside them neither `setUp` nor `tearDown` runs, and `self.rank` is the rank.

    A rank starts in the state that the test process has when `_spawn_processes` is called: its environment, working
    folder and the like, whatever changed them (`_engine.process_state` lists them). Modules and classes
    are as their import has left them: a global or a class attribute that `setUp`, `setUpClass` or a fixture sets is not
    set in ranks, as in upstream's. A variable that a library reads on import (TORCH_LOGS) has been read before, unless
    ranks are spawned.

    Attributes:
        rank: the rank, or `MAIN_PROCESS_RANK` in the controller.
        file_name: path of the file in which the test's ranks meet for their process group.
        processes: in the controller, the ranks' processes.
    """

    MAIN_PROCESS_RANK = -1
    TEST_ERROR_EXIT_CODE = TEST_ERROR_EXIT_CODE

    #: Whether its tests run in ranks that have run others of their module; None leaves it to `--reuse-ranks`.
    reuse_ranks: bool | None = None
    rank: int = MAIN_PROCESS_RANK
    file_name: str
    processes: Sequence[RankProcess] = ()

    @property
    def world_size(self) -> int:
        """Number of ranks: 4, or WORLD_SIZE. A subclass that overrides this fixes it."""
        return read_settings().world_size or default_world_size()

    @property
    def destroy_pg_upon_exit(self) -> bool:
        """Whether a rank destroys the process group that its test has left."""
        return True

    @property
    def is_master(self) -> bool:
        return self.rank == 0

    def join_or_run(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method that runs `fn` in a rank, and in the controller waits for the ranks."""

        @functools.wraps(fn)
        def in_its_role(instance: MultiProcessTestCase) -> Any:
            if instance.rank == self.MAIN_PROCESS_RANK:
                return instance._join_processes(fn)
            returned = fn()
            THIS_RANK.has_run_body = returned is None
            return returned

        return types.MethodType(in_its_role, self)

    # In the controller.

    def _should_stop_test_suite(self) -> bool:
        return False

    def setUp(self) -> None:
        super().setUp()
        self._ranks = test_ranks()
        self.addCleanup(self._ranks.close)
        self.file_name = str(self._ranks.scratch.rendezvous)
        self.rank = self.MAIN_PROCESS_RANK
        self.processes = []
        self.pid_to_pipe = {}
        self.addCleanup(self._close_pipes)
        self.skip_return_code_checks = []
        self.special_return_code_checks = {}

    def tearDown(self) -> None:
        super().tearDown()
        for process in self.processes:
            process.terminate()
        self.processes = []

    def _current_test_name(self) -> str:
        return self._testMethodName

    def _spawn_processes(self) -> None:
        """Start the ranks, in the fastest way that is safe here.

        Raises:
            unittest.SkipTest: the test cannot run here, which is known without its ranks.
            LaunchError: the ranks cannot be started.
        """
        self._start_processes(RankCall)

    def _fork_processes(self) -> None:
        """Start the ranks. Upstream has two ways, which are the same here."""
        self._spawn_processes()

    def _start_processes(self, proc: Callable[..., Any]) -> None:
        """Start the ranks as `_spawn_processes` does, each to run what `proc` makes.

        Args:
            proc: is called once for each rank with the arguments of `multiprocessing.Process`, and returns such a
                process, not started, perhaps with other arguments. Of whatever kind it is, only its `run` is called,
                in a rank.
        """
        self._require_set_up()
        if is_overridden(type(self), MultiProcessTestCase, "_event_listener"):
            raise LaunchError(
                f"{type(self).__name__} overrides _event_listener, which this harness does not call: "
                "a rank tells where it stands by itself"
            )
        name = self._current_test_name()
        self._skip_by_conditions(name)
        world_size = checked_world_size(self.world_size)
        note_sharing(self, world_size)
        pipes = make_pipes(world_size)
        arguments = {"fake_pg": getattr(self, "fake_pg", False)}
        plain = [(rank, name, self.file_name, end) for rank, (_, end) in enumerate(pipes)]
        calls = calls_of_its_own(proc, type(self)._run, plain, arguments)
        try:
            pids = self._ranks.start(
                type(self),
                name,
                world_size,
                timeout=seconds_for(self.id()),
                rendezvous_file=self.file_name,
                run_arguments=arguments,
                stops_at_subtest=self._stops_at_subtest,
                pipes=[end.fileno() for _, end in pipes],
                calls=calls,
                reuses=not self._needs_fresh_ranks and may_reuse(self, name, self._obstacle_to_reuse(calls)),
            )
        finally:
            for _, end in pipes:
                end.close()
        self.processes = self._ranks.processes
        self.pid_to_pipe = {pid: ours for pid, (ours, _) in zip(pids, pipes, strict=True)}

    def _obstacle_to_reuse(self, calls: Mapping[int, object]) -> str | None:
        """Return why its ranks cannot be reused, or None."""
        if calls:
            return "it starts processes of its own kind"
        for name in ("_check_return_codes", "_check_no_test_errors"):
            if is_overridden(type(self), MultiProcessTestCase, name):
                return f"its {name} judges by how processes end"
        return None

    # In a rank.

    @classmethod
    def _rank_keeper(cls, job: RankJob) -> RankKeeper:
        """Return the object that puts back, in a rank which is reused, what each test has changed."""
        return RankKeeper([cls], Path(job.lasting_folder))

    @classmethod
    def _run(cls, rank: int, test_name: str, file_name: str, parent_pipe: Connection, **kwargs: Any) -> None:
        """Build the rank's instance and run the test on it. Subclasses override it to do more around the test."""
        self = cls(test_name)
        self.rank = rank
        self.file_name = file_name
        self.run_test(test_name, parent_pipe)

    def run_test(self, test_name: str, parent_pipe: Connection) -> None:
        """Run the test method in this rank and send its outcome. The traceback of an exception goes into `parent_pipe`,
        too.

        Raises:
            SystemExit: the test failed or skipped; the rest of `_run` is then left out, as upstream.
        """
        channel = THIS_RANK.channel
        assert channel is not None, "tests are run in ranks"
        set_rng_seed()
        test = getattr(self, test_name)
        steps = self._steps(
            self.rank, test_name, lambda found: channel.send(found) if found.status.is_exception else None
        )
        try:
            outcome = steps.take(itertools.chain([checked_test(test)], cleanup_steps(self)))
        except SystemExit:
            THIS_RANK.has_run_body = False  # nor have all steps ended well: a cleanup's `sys.exit(0)` was a pass
            raise
        if not outcome.status.is_exception:  # an exception was sent at once: cleanups after it may be slow, or crash
            channel.send(outcome)
        else:
            with suppress(OSError, ValueError):  # closed
                parent_pipe.send(outcome.traceback[-_PIPE_CHARACTERS:])
        if not outcome.status.is_bad:
            channel.await_others()
        if outcome.exit_code:
            raise SystemExit(outcome.exit_code)
        if self.destroy_pg_upon_exit:
            leave_group_at_end()
