"""Runs one test in the controller, from its scratch folder to its verdict."""

from __future__ import annotations

import operator
import sys
import time
import unittest
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._engine.diagnostics import take_diagnostics
from torch_testing_shim._engine.failure_text import failure_report, output_report
from torch_testing_shim._engine.job import LaunchError, RankJob, make_scratch_folder, pack_call, remove_scratch_folder
from torch_testing_shim._engine.launcher import STARTER, threads_per_rank
from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._engine.rank_process import RankProcess
from torch_testing_shim._engine.running_ranks import RunningRanks
from torch_testing_shim._engine.verdict import ExitExpectation, VerdictKind, verdict
from torch_testing_shim._engine.watchdog import supervise
from torch_testing_shim._shared.settings import read_settings

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class RankFailure(AssertionError, RuntimeError):
    """An assertion did not hold in a rank. The message is the report over all ranks; its first line is the headline.
    It is a RuntimeError too, which upstream raises here and tests of harnesses expect."""

    __module__ = "torch_testing_shim"  # reports begin with the exception's name: the public one
    is_report = True


class RankError(RuntimeError):
    """A rank raised another exception, died, hung or disagreed. The message is as for `RankFailure`."""

    __module__ = "torch_testing_shim"
    is_report = True


def _name_in_module(test_class: type) -> str:
    """Return the name that leads to a class in its module: its own, unless another class has taken that since or the
    module knows it by another one.

    Raises:
        LaunchError: no name leads to it.
    """
    name = test_class.__qualname__
    module = sys.modules.get(test_class.__module__)
    with suppress(AttributeError):
        if module is None or operator.attrgetter(name)(module) is test_class:
            return name
    for other, value in vars(module).items():
        if value is test_class:
            return other
    raise LaunchError(f"ranks cannot find {name}: no name in {test_class.__module__} leads to it")


def checked_world_size(value: object) -> int:
    """Check the number of ranks that a test class asks for.

    Raises:
        LaunchError: it is not an int.
        unittest.SkipTest: it is less than 1. No rank would run, which is never a pass.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        # a str: torch's own suite of collectives passes on what it reads from WORLD_SIZE
        world_size = int(value) if isinstance(value, str) else operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise LaunchError(f"world_size must be a positive int, not {value!r}") from None
    if world_size < 1:
        raise unittest.SkipTest(f"needs at least 1 {device_in_use().type}, found 0: world_size is {world_size}")
    return world_size


class TestRanks:
    """The ranks of one test method: first a scratch folder, then running ranks, then a verdict."""

    __test__ = False  # not a test class, whatever pytest makes of its name

    def __init__(self) -> None:
        self.scratch = make_scratch_folder()
        self._running: RunningRanks | None = None
        self._deadline = 0.0

    def start(
        self,
        test_class: type,
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
        """Start the ranks and return their process ids.

        Args:
            test_class: the class, which ranks look up in its module, by the name that leads to it there.
            timeout: seconds from the start of the last rank to the deadline. The harness's own imports before that do
                not count.
            pipes: by rank, the descriptor of the rank's end of the pipe that the class's `_run` is given; empty for no
                pipes.
            calls: by rank, an object whose `run` the rank calls instead of `_run`.
            reuses: the ranks may be those that the test before has kept, and are kept for the next one.
            method, world_size, rendezvous_file, run_arguments, stops_at_subtest: as in `RankJob`.

        Raises:
            LaunchError: the ranks cannot be started.
        """
        if self._running is not None:
            raise LaunchError("the ranks have been started already: setUp calls _spawn_processes twice")
        name, module = _name_in_module(test_class), test_class.__module__
        descriptors = [pipes[rank : rank + 1] for rank in range(world_size)]
        for rank, call in calls.items():
            descriptors[rank] = self._pack(rank, call)
        self._running = STARTER.launch(
            [
                RankJob(
                    module=module,
                    module_file=getattr(sys.modules.get(module), "__file__", None),
                    class_name=name,
                    method=method,
                    rank=rank,
                    world_size=world_size,
                    scratch=str(self.scratch.path),
                    rendezvous_file=rendezvous_file,
                    threads=threads_per_rank(world_size),
                    run_arguments=run_arguments,
                    stops_at_subtest=stops_at_subtest,
                    descriptors=descriptors[rank],
                )
                for rank in range(world_size)
            ],
            reuses=reuses,
        )
        self._deadline = time.monotonic() + timeout
        return self._running.pids

    def _pack(self, rank: int, call: object) -> list[int]:
        """Write an object whose `run` a rank calls to the scratch folder. Return the descriptors that it needs."""
        try:
            text, descriptors = pack_call(call)
        except Exception as error:
            raise LaunchError(f"what rank {rank} is to run cannot be pickled: {error}") from error
        self.scratch.call(rank).write_bytes(text)
        return descriptors

    def join(
        self, expectation: ExitExpectation, at_deadline: Callable[[], object] = lambda: None
    ) -> tuple[RankOutcome, ...]:
        """Wait until every rank has ended, or all can be kept. At the deadline, `at_deadline` is called and the ranks
        are ended by force."""
        ranks = self.running
        try:
            stall_seconds = read_settings().stall_seconds
            found = supervise(ranks, self._deadline, expectation, stall_seconds, at_deadline=at_deadline)
            if all(outcome.left == () for outcome in found):
                ranks.keep()
            elif all(outcome.left is not None for outcome in found):
                ranks.let_end()
        finally:
            if not ranks.are_kept:
                ranks.close()
        return found

    @property
    def follows(self) -> str:
        """The test that the same ranks have run before this one, "Class.test_x"; empty where they are new."""
        return self._running.follows if self._running is not None else ""

    @property
    def processes(self) -> list[RankProcess]:
        """The started ranks, for the test's own code."""
        return [RankProcess(self.running, job.rank, self._ends_by) for job in self.running.jobs]

    @property
    def _ends_by(self) -> float:
        """The latest time at which the ranks have ended, on the monotonic clock."""
        return self._deadline

    def stacks(self) -> str:
        """The stacks of the ranks that still run."""
        if not self.are_started or not self.running.living:
            return ""
        told = take_diagnostics(self.running, self.running.living, native=False)
        return "\n".join(f"rank {rank}:\n{told[rank].stacks}" for rank in sorted(told))

    @property
    def are_started(self) -> bool:
        return self._running is not None

    @property
    def running(self) -> RunningRanks:
        """The ranks, once they are started."""
        assert self._running is not None, "ranks are started before they are asked"
        return self._running

    def printed(self) -> str:
        """Return the ranks' whole output, each line prefixed by rank."""
        paths = [(job.rank, job.folder.output(job.rank)) for job in self.running.jobs]
        texts = [(rank, path.read_text(errors="replace")) for rank, path in paths if path.exists()]
        return output_report([(rank, text) for rank, text in texts if text])

    def close(self) -> None:
        """End the ranks that still run, and remove the scratch folder. It drops the ranks, since pytest or reference
        cycles may keep the test case alive."""
        if self._running is not None:
            if not self._running.are_kept:
                self._running.close()
            self._running = None
        remove_scratch_folder(self.scratch)


def raise_verdict(outcomes: Sequence[RankOutcome], expectation: ExitExpectation, processes_left: int = 0) -> None:
    """Raise the verdict over the outcomes, one per rank, for unittest; return where the test has passed. The report
    tells of the processes that the ranks left.

    Raises:
        RankFailure: an assertion did not hold in a rank.
        RankError: the test ended in another bad way.
        unittest.SkipTest: every rank skipped.
    """
    found = verdict(outcomes, expectation)
    if found.kind is VerdictKind.SKIPPED:
        raise unittest.SkipTest(found.headline)
    if found.kind is not VerdictKind.PASSED:
        kind = RankFailure if found.kind is VerdictKind.FAILED else RankError
        full = read_settings().full_traceback
        raise kind(failure_report(found, outcomes, full_traceback=full, processes_left=processes_left))
