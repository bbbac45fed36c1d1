"""`AwaitedRanks`: in the controller, a test waits for the processes that are its ranks, and is judged by them.

`MultiProcessTestCase`, which starts them, is built on it.

    _join_processes -> _wait -> _join -> outcomes -> _check_return_codes -> _judge -> verdict
"""

from __future__ import annotations

import itertools
import time
import unittest
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from torch_testing_shim._cases.body import RankTestCase
from torch_testing_shim._cases.hooks import is_overridden, takes
from torch_testing_shim._cases.reused_ranks import note_left, noted_difference, word_for
from torch_testing_shim._engine.controller import RankError, RankFailure, TestRanks, raise_verdict
from torch_testing_shim._engine.failure_text import left_text
from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._engine.rank_steps import cleanup_steps
from torch_testing_shim._engine.verdict import ExitExpectation
from torch_testing_shim._isolation.leaks import take_snapshot
from torch_testing_shim._program.notes import NOTES, rank_records
from torch_testing_shim._shared.journal import RankRecord
from torch_testing_shim._shared.settings import read_settings

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Attributes of an instance that belong to the run which is going on.
_OF_THE_RUN = ("_outcome", "_is_pytests", "_stops_at_subtest", NOTES)


class AwaitedRanks(RankTestCase):
    """A test case that waits for its ranks, which are processes.

    Attributes:
        pid_to_pipe: in the controller, process ids of ranks -> this end of the pipe whose other end `_run` is given.
        special_return_code_checks: test functions -> the exit code that their rank 0 has to end with.
        skip_return_code_checks: test functions whose ranks may end with any exit code.
    """

    pid_to_pipe: dict[int, Connection]
    special_return_code_checks: dict[Callable[..., Any], int]
    skip_return_code_checks: list[Callable[..., Any]]
    _ranks: TestRanks
    _outcomes: tuple[RankOutcome, ...] = ()
    _expectation = ExitExpectation()
    _rank_records: tuple[RankRecord, ...] = ()
    _needs_fresh_ranks = False

    def _close_pipes(self) -> None:
        for pipe in self.pid_to_pipe.values():
            pipe.close()

    def _join_processes(self, fn: Callable[..., Any]) -> None:
        """Wait for the ranks and raise their verdict, as `raise_verdict` does. A test that does not pass in ranks which
        have run another one runs again in fresh ones."""
        follows = self._ranks.follows if self._is_set_up else ""
        try:
            self._wait(fn)
        except Exception as first:
            if not follows:
                raise
            said = word_for(first)
        else:
            return
        self._start_again()
        with noted_difference(self, said, follows):
            self._wait(fn)

    def _start_again(self) -> None:
        """End the test, and set it up for fresh ranks as an instance made anew. How its clean-up ends does
        not count."""
        for step in itertools.chain([self.tearDown], cleanup_steps(self)):
            with suppress(Exception):
                step()
        of_run = {name: vars(self)[name] for name in _OF_THE_RUN if name in vars(self)}
        name = self._testMethodName
        vars(self).clear()
        type(self).__init__(self, name)
        vars(self).update(of_run)
        self._needs_fresh_ranks = True
        self.addCleanup(self._check_leaks, take_snapshot())
        self._callSetUp()

    def _wait(self, fn: Callable[..., Any]) -> None:
        self._require_set_up()
        began = time.monotonic()
        try:
            self._join(fn)
            self._check(fn, time.monotonic() - began)
        finally:
            self._close_pipes()
        if read_settings().show_output:
            for text in filter(None, (self._ranks.printed(), left_text(self._ranks.running.processes_left))):
                print(text, flush=True)

    def _check(self, fn: Callable[..., Any], seconds: float) -> None:
        """Call `_check_return_codes`. What a class's own one raises is reported together with what the ranks say."""
        check: Callable[..., None] = self._check_return_codes
        try:
            check(fn, seconds) if takes(check, fn, seconds) else check(seconds)  # torch 2.4's
        except (RankFailure, RankError, unittest.SkipTest):
            raise
        except Exception as error:
            try:
                self._judge()
            except (RankFailure, RankError) as report:
                raise error from report
            raise

    def _join(self, fn: Callable[..., Any] | None = None) -> None:
        """Wait for the ranks. A class that checks exit codes itself may expect any, but no hang."""
        if not self._ranks.are_started:
            raise self._no_rank("_spawn_processes")
        self._expectation = ExitExpectation(
            code=self.special_return_code_checks.get(fn) if fn is not None else None,
            ignored=fn in self.skip_return_code_checks,
        )
        checks_itself = is_overridden(type(self), AwaitedRanks, "_check_return_codes")
        has_own_look = is_overridden(type(self), AwaitedRanks, "_get_timedout_process_traceback")
        self._outcomes = self._ranks.join(
            ExitExpectation(ignored=True) if checks_itself else self._expectation,
            self._get_timedout_process_traceback if has_own_look else lambda: None,
        )
        self._rank_records = rank_records(self._outcomes, self._ranks.running.started)
        note_left(self, self._outcomes)
        if any(outcome.status.is_hang for outcome in self._outcomes):
            self._judge()

    def _judge(self) -> None:
        if not self._outcomes:
            self._join()
        raise_verdict(self._outcomes, self._expectation, self._ranks.running.processes_left)

    def _check_return_codes(self, fn: Callable[..., Any], elapsed_time: float = 0.0) -> None:
        """Raise the verdict of the ranks; `_join_processes` calls it when they have ended. A subclass that overrides it
        judges by `self.processes[rank].exitcode`, and its verdict counts, except after a hang."""
        self._check_no_test_errors(elapsed_time) if self._expectation.ignored else self._judge()

    def _check_no_test_errors(self, elapsed_time: float) -> None:
        """Raise the verdict for a test of `skip_return_code_checks`, whose exit codes do not count (torch 2.4)."""
        self._judge()

    def _get_timedout_process_traceback(self) -> None:
        """Print the stacks of the ranks that still run. The report of a hang has them anyway, so this is called at the
        deadline only where a subclass overrides it."""
        print(self._ranks.stacks(), flush=True)
