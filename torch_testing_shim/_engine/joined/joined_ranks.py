"""The ranks of one test in a joined world. This process is one of them, and runs the body itself.

`JoinedRanks` has the names of `TestRanks`, so that test cases need not know how their ranks were started. Of a test
with fewer ranks than the world, the first run the body while the others wait.
"""

from __future__ import annotations

import os
import unittest
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import MappingProxyType
from typing import Any

from torch_testing_shim._engine.controller import TestRanks
from torch_testing_shim._engine.failure_text import output_report
from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.joined.bounded_store import StoreLostError
from torch_testing_shim._engine.joined.coming import meet
from torch_testing_shim._engine.joined.ending import gather, leave, post
from torch_testing_shim._engine.joined.own_body import OwnBody
from torch_testing_shim._engine.joined.world import JoinedWorld
from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._engine.rank_process import RankProcess
from torch_testing_shim._engine.verdict import ExitExpectation
from torch_testing_shim._shared.settings import read_settings

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


@dataclass(frozen=True)
class _Started:
    """The names of `RunningRanks` that test cases use."""

    started: Sequence[float]
    processes_left: int = 0
    is_closed: bool = False


class JoinedRanks(TestRanks):
    """The ranks of one test method."""

    def __init__(self, world: JoinedWorld) -> None:
        super().__init__()
        self._world = world
        self._job: RankJob | None = None
        self._class: type = object
        self._call: Callable[[], object] = lambda: None
        self._began = 0.0
        self._timeout = 0.0

    def start(
        self,
        test_class: type[unittest.TestCase],
        method: str,
        world_size: int,
        *,
        timeout: float,
        rendezvous_file: str,
        run_arguments: dict[str, Any],
        stops_at_subtest: bool = False,
        pipes: Sequence[int] = (),
        calls: Mapping[int, object] = MappingProxyType({}),
        reuses: bool = False,
    ) -> list[int]:
        """Note what to run; `join` runs it. Arguments and result are those of `TestRanks.start`. The processes are the
        launcher's, so whether ranks may be reused does not matter.

        Raises:
            unittest.SkipTest: the world has too few processes.
        """
        rank, size = self._world.rank, self._world.size
        if world_size > size:
            raise unittest.SkipTest(f"needs {world_size} ranks; the launcher has started {size}")
        self._timeout, self._class = timeout, test_class
        self._job = RankJob(
            module=test_class.__module__,
            module_file=None,
            class_name=test_class.__qualname__,
            method=method,
            rank=rank,
            world_size=world_size,
            scratch=str(self.scratch.path),
            rendezvous_file=rendezvous_file,
            run_arguments=run_arguments,
            stops_at_subtest=stops_at_subtest,
        )
        pipe = Connection(os.dup(pipes[rank])) if rank < len(pipes) else None
        own: Any = calls.get(rank)
        run: Any = test_class
        self._call = own.run if own else lambda: run._run(rank, method, rendezvous_file, pipe, **run_arguments)
        return [member.pid for member in self._world.members[:world_size]]

    @property
    def are_started(self) -> bool:
        return self._job is not None

    @property
    def running(self) -> Any:
        return _Started([self._began] * self._ranks)

    @property
    def processes(self) -> list[RankProcess]:
        """None: a test can neither signal ranks on other machines nor ask how they end."""
        return []

    @property
    def _ranks(self) -> int:
        return 0 if self._job is None else self._job.world_size

    def printed(self) -> str:
        path = self.scratch.output(self._world.rank)
        return output_report([(self._world.rank, path.read_text(errors="replace"))]) if path.exists() else ""

    def stacks(self) -> str:
        return ""

    def join(
        self, expectation: ExitExpectation, at_deadline: Callable[[], object] = lambda: None
    ) -> tuple[RankOutcome, ...]:
        """Run this process's part of the test, and return the outcomes of all ranks.

        Raises:
            unittest.SkipTest: the test expects its ranks to end.
            RankError: another process does not run the test.
        """
        if expectation.allows_death:
            raise unittest.SkipTest("the test expects ranks to end, and a launcher's ranks run the next test, too")
        world, test = self._world, self._world.current
        # known before all have come: one that has been faster may be dead before this one learns that it has come
        test.ranks, test.scratch = self._ranks, self.scratch.path
        meet(world, test, self._timeout)
        test.in_body, self._began = True, test.began
        assert self._job is not None, "ranks are started before they are joined"
        own = OwnBody(world, test, self._job, self._class, self._call).run() if world.rank < self._ranks else None
        with world.awaiting(read_settings().timeout_seconds):
            if own is not None:
                with suppress(StoreLostError):
                    post(world, test, world.exchange, own, in_body=True)
            told = gather(world, test, world.exchange, own)
            if any(one.leaves for one in told):
                leave(world, test, world.exchange, told)
        test.in_body = False
        test.remove_folders()
        return tuple(one.outcome for one in told)
