"""Runs a test in its rank step by step (its body, its subtests, its cleanups), and folds them into one outcome.

Each step runs whatever became of the others, and each subtest too, as in unittest. A process that a test forks from its
own ends where it would leave the test's code.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from os import getpid  # the function itself: a test may have replaced `os`'s
from typing import Any, NoReturn

from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._engine.rank_outcomes import (
    outcome_of_exception,
    outcome_of_exit,
    pass_outcome,
    skip_outcome,
    skip_reason_of,
)
from torch_testing_shim._engine.unrun_body import checked_step
from torch_testing_shim._shared.exit_status import exit_code_of

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Stands for the message of a subtest that has none.
NO_MESSAGE: Any = object()
#: In a rank: its test ends at the first subtest that fails (unittest's --failfast).
STOPS_AT_SUBTEST: ContextVar[bool] = ContextVar("STOPS_AT_SUBTEST", default=False)
#: Failed subtests that are reported with tracebacks, and subtests that are reported by name.
_TRACEBACKS, _NAMES = 100, 1000
#: The longest name of a subtest.
_NAME_CHARACTERS = 300

_CURRENT: ContextVar[RankSteps | None] = ContextVar("_CURRENT", default=None)


class _EndOfTest(Exception):
    """Ends a test after its last subtest."""


def current_steps() -> RankSteps | None:
    """Return the steps of the rank that asks; None outside of a test's steps."""
    return _CURRENT.get()


def end_after_failed_subtests() -> None:
    """End a rank's test, as an exception does, where subtests of it have failed. The other ranks may be elsewhere, so
    a clean-up that waits for them could wait in vain."""
    steps = current_steps()
    if steps is not None and steps.subtests:
        raise _EndOfTest


class RankSteps:
    """The steps of one test in one rank, and their outcome so far.

    Args:
        rank: the rank.
        failure: the exception type that means "an assertion did not hold".
        tell: called at once with the outcome of the first exception, and of a skip before it.
        tell_subtest: called at once with the outcome of a subtest that has failed.
        is_expected: the test is marked as an expected failure, so that it ends at the first subtest that fails.
    """

    def __init__(
        self,
        rank: int,
        failure: type[BaseException] = AssertionError,
        *,
        tell: Callable[[RankOutcome], object] = lambda _: None,
        tell_subtest: Callable[[RankOutcome], object] = lambda _: None,
        is_expected: bool = False,
    ) -> None:
        self.subtests: list[RankOutcome] = []  # outcomes of the subtests that have failed, in order
        self.error: BaseException | None = None  # the exception behind the outcome so far; None where there is none
        self._rank = rank
        self._failure = failure
        self._tell = tell
        self._tell_subtest = tell_subtest
        self._stops = is_expected or STOPS_AT_SUBTEST.get()
        self._outcome: RankOutcome | None = None
        self._exit: SystemExit | None = None
        self._parameters: list[Mapping[str, object]] = []  # of the subtests that it is in, innermost last
        self._passed: list[str] = []
        self._skipped: list[tuple[str, str]] = []

    def take(self, steps: Iterable[Callable[[], object]]) -> RankOutcome:
        """Run every step; they are asked for one by one. Return the outcome of all so far: the first exception, else
        a skip, else a pass.

        Raises:
            SystemExit: a step has raised it, with a code that does not mean a skip, and nothing is worse.
        """
        before = _CURRENT.set(self)
        try:
            left = iter(steps)
            go_on = True
            while go_on:
                with self._noting():
                    step = next(left, None)
                    go_on = step is not None
                    if step is not None:
                        step()
        finally:
            _CURRENT.reset(before)
        if self._exit is not None and not (self._outcome is not None and self._outcome.status.is_exception):
            raise self._exit
        return replace(
            self._outcome or self._skip_of_subtests() or pass_outcome(self._rank),  # a pass notes when the test ended
            passed_subtests=tuple(self._passed[:_NAMES]),
            skipped_subtests=tuple(self._skipped[:_NAMES]),
        )

    @contextmanager
    def subtest(self, message: object, parameters: Mapping[str, object], *, is_last: bool = False) -> Iterator[None]:
        """Run a subtest: an exception of the block is noted, and does not leave it. Message and parameters are as
        unittest's `subTest` takes them, or `NO_MESSAGE`. Where the subtest `is_last` and fails, the test ends with
        it."""
        self._parameters.append(parameters)
        name, ended_before = self._name_of_subtest(message), len(self.subtests) + len(self._skipped)
        failed_before = len(self.subtests)
        try:
            with ends_forked_children():
                yield
        except (SystemExit, _EndOfTest):
            raise
        except BaseException as error:
            reason = skip_reason_of(error)
            if reason is None:
                self._subtest_failed(name, error)
            else:
                self._skipped.append((name, reason))
        else:
            if len(self.subtests) + len(self._skipped) == ended_before:  # none, not even within it
                self._passed.append(name)
        finally:
            self._parameters.pop()
        if len(self.subtests) > failed_before and (is_last or self._stops):
            raise _EndOfTest

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Note the exception that a step raises, and the subtests that failed in it."""
        try:
            with ends_forked_children():
                yield
        except _EndOfTest:
            pass
        except SystemExit as request:
            if (skip := outcome_of_exit(self._rank, request)) is not None:
                self._found(skip, request)
            elif self._exit is None:
                self._exit, self.error = request, self.error or request
        except BaseException as error:  # errors of distributed checkpoints are not Exceptions (torch 2.13)
            if (reason := skip_reason_of(error)) is not None:
                self._found(skip_outcome(self._rank, reason), error)
            else:
                self._found(outcome_of_exception(self._rank, error, self._failure), error)
        if self.subtests and not self._has_exception:
            self._found(self.subtests[0])

    @property
    def has_ended(self) -> bool:
        """Whether a step has raised something."""
        return self._outcome is not None or self._exit is not None

    @property
    def _has_exception(self) -> bool:
        return self._outcome is not None and self._outcome.status.is_exception

    def _found(self, outcome: RankOutcome, error: BaseException | None = None) -> None:
        if self._outcome is None or (outcome.status.is_exception and not self._has_exception):
            self._outcome, self.error = outcome, error
            self._tell(outcome)
        elif outcome.status.is_exception:
            print(f"after that, a cleanup {outcome.status.value}:\n{outcome.traceback}", file=sys.stderr)

    def _subtest_failed(self, name: str, error: BaseException) -> None:
        number = len(self.subtests)
        outcome = replace(outcome_of_exception(self._rank, error, self._failure), subtest=name)
        if number < _NAMES:
            self.subtests.append(outcome if number < _TRACEBACKS else replace(outcome, traceback=""))
            self._tell_subtest(self.subtests[-1])

    def _skip_of_subtests(self) -> RankOutcome | None:
        """Return a skip where subtests skipped and none passed, as in unittest."""
        return skip_outcome(self._rank, self._skipped[0][1]) if self._skipped and not self._passed else None

    def _name_of_subtest(self, message: object) -> str:
        """Format a subtest's name as unittest does: "[message] (i=1, j=2)"."""
        known: dict[str, object] = {}
        for parameters in reversed(self._parameters):
            known = {**known, **{key: parameters[key] for key in parameters if key not in known}}
        shown = ", ".join(f"{key}={_shown(value, repr)}" for key, value in known.items())
        parts = ([] if message is NO_MESSAGE else [f"[{_shown(message, str)}]"]) + ([f"({shown})"] if shown else [])
        return " ".join(parts)[:_NAME_CHARACTERS] or "(<subtest>)"


def _shown(value: object, show: Callable[[object], str]) -> str:
    try:
        return show(value)
    except Exception:  # a name must not decide how a subtest ends
        return f"<unprintable {type(value).__name__}>"


def cleanup_steps(test_case: Any) -> Iterator[Callable[[], object]]:
    """Yield the cleanups that a test has added, last first. Ask for them one by one, since each may add more.
    unittest's own `doCleanups` loses exceptions where there is no result object."""
    while test_case._cleanups:
        function, args, kwargs = test_case._cleanups.pop()
        yield functools.partial(checked_step(function), *args, **kwargs)


@contextmanager
def ends_forked_children() -> Iterator[None]:
    """End a process that the block forks and that leaves the block, as Python ends one at the end of its script. Only
    the process that entered the block runs the code after it, above all the clean-up."""
    pid = getpid()
    try:
        yield
    except BaseException as error:
        if getpid() != pid:
            _end(error)
        raise
    if getpid() != pid:
        _end(None)


def _end(error: BaseException | None) -> NoReturn:
    code = 0 if error is None else 1
    if isinstance(error, SystemExit):
        code = exit_code_of(error)
    elif error is not None:
        with suppress(Exception):  # the test has closed or replaced its streams
            traceback.print_exception(error)
    flush_output()
    os._exit(code)


def flush_output() -> None:
    """Flush this process's streams, unless the test has closed or replaced them."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
