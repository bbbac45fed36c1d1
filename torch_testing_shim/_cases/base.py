"""`TestCase`, the base of all test classes of the harness: one test in the test process."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import unittest
from collections.abc import Callable
from typing import Any

from torch_testing_shim._assertions.expected_output import ExpectedOutput
from torch_testing_shim._assertions.tensors import TensorAssertions
from torch_testing_shim._cases.unittest_assertions import UnittestAssertions
from torch_testing_shim._engine.driver import lost_accelerator
from torch_testing_shim._engine.joined.world import JOINED
from torch_testing_shim._engine.launcher import STARTER
from torch_testing_shim._engine.rank_outcomes import skips_as_known
from torch_testing_shim._engine.rank_steps import NO_MESSAGE, current_steps, ends_forked_children
from torch_testing_shim._engine.unrun_body import (
    checked_step,
    checked_test,
    close_event_loop,
    is_asyncio_case,
    require_plain,
)
from torch_testing_shim._isolation.leaks import LeakError, Snapshot, leaks_since, take_snapshot
from torch_testing_shim._isolation.torch_state import (
    checked_default_dtype,
    kept_torch_state,
    reset_dynamo,
    set_rng_seed,
)
from torch_testing_shim._program.notes import note
from torch_testing_shim._program.selection import test_name
from torch_testing_shim._shared.rerun_command import repro_command, repro_on_failure
from torch_testing_shim._shared.settings import changed_environment, read_settings
from torch_testing_shim._skips.by_machine import (
    SLOW_MARK,
)
from torch_testing_shim._skips.conditions import runs_on_cpu
from torch_testing_shim._skips.flags import (
    as_assigned,
    settings_or_default,
)
from torch_testing_shim._skips.lists import reason_not_to_run
from torch_testing_shim._upstream.class_rest import TorchsRest

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def _prepare_before_set_up(test_class: Any) -> None:
    """Prepare ranks before `setUpClass` runs, the class's own or a mixin's, so that no rank sees what it does to
    classes and modules. Otherwise ranks would see it, where the class is the first to run."""
    found = inspect.getattr_static(test_class, "setUpClass")
    is_classmethod = isinstance(found, classmethod) and not isinstance(found, _PreparedSetUp)
    if not is_classmethod or found is vars(unittest.TestCase)["setUpClass"]:
        return
    is_own = "setUpClass" in vars(test_class)

    @functools.wraps(found.__func__)
    def set_up(cls: type) -> None:
        STARTER.prepare()
        found.__func__(cls) if is_own else super(test_class, cls).setUpClass()

    test_class.setUpClass = _PreparedSetUp(set_up)


class _PreparedSetUp(classmethod):  # type: ignore[type-arg]  # takes none at run time
    """A `setUpClass` that prepares ranks first."""


class TestCase(TensorAssertions, ExpectedOutput, UnittestAssertions):
    """A `unittest.TestCase` that compares tensors, seeds all generators before each test, knows slow and disabled
    tests, and prints with a failure the command that runs the test again (upstream: `TestCase`, torch 2.13).

    Args:
        method_name, methodName: the test method; both spellings are upstream's.
    """

    __module__ = "torch_testing_shim.common_utils"  # where tests find it; torch's module has the rest of it
    maxDiff = None
    rest_is_torchs = TorchsRest()
    _default_dtype_check_enabled = False  # upstream's name, which files set
    _passes = False
    _is_pytests = False  # pytest runs it
    _is_set_up = False
    _stops_at_subtest = False  # in ranks; unittest's --failfast

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _prepare_before_set_up(cls)

    def __init__(self, method_name: str = "runTest", methodName: str = "runTest") -> None:
        super().__init__(methodName if methodName != "runTest" else method_name)

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        """Run the test, after the preparations for the first test of the process, and with its cleanups even where
        Ctrl-C ends it (unittest leaves them out)."""
        STARTER.prepare()
        reset_dynamo()  # as upstream's does from torch 2.14 on, whose dynamo test cases leave it to this class
        self._is_pytests = type(result).__module__.startswith("_pytest.")
        self._stops_at_subtest = bool(getattr(result, "failfast", False))
        self.addCleanup(self._check_leaks, take_snapshot())  # added first, it runs last
        try:
            found = super().run(result)
        except BaseException:
            self.doCleanups()
            raise
        if self._should_stop_test_suite():
            _stop_suite(self, found if result is None else result)
        return found

    def _should_stop_test_suite(self) -> bool:
        """Return whether no other test can run in this process; called after each test. By default true where the
        accelerator that runs in it has failed for good. Tests that then do not run fail the run."""
        if (lost := lost_accelerator()) is not None:
            print(f"\n{lost}", file=sys.stderr, flush=True)
        return lost is not None

    def setUp(self) -> None:
        """Subclasses call it first.

        Raises:
            unittest.SkipTest: a list of tests or the run's options exclude the test.
        """
        super().setUp()
        self._is_set_up = True
        # Of the class: on the instance of a test with ranks, another method stands in its place.
        method: Any = getattr(type(self), self._testMethodName, None)
        is_slow = getattr(method, SLOW_MARK, False)
        settings = as_assigned(read_settings())
        reason = reason_not_to_run(type(self).__name__, self._testMethodName, is_slow, settings)
        if reason is not None:
            raise unittest.SkipTest(reason)
        state = contextlib.ExitStack()
        self.addCleanup(state.close)
        if runs_on_cpu(type(self), method):
            state.enter_context(changed_environment({"TORCH_TESTING_SHIM_DEVICE": "cpu"}))
        set_rng_seed()
        state.enter_context(kept_torch_state())
        if self._default_dtype_check_enabled:
            state.enter_context(checked_default_dtype())

    def doCleanups(self) -> Any:
        """Run unittest's last step, even for a test that failed or was interrupted."""
        outcome = getattr(self, "_outcome", None)  # unittest's; none after an interrupt
        self._passes = outcome is not None and outcome.success
        return super().doCleanups()

    def _check_leaks(self, before: Snapshot) -> None:
        """Report what a test that has passed so far leaves in this process."""
        if not self._passes or not close_event_loop(self) or JOINED.world is not None:  # a rank may keep what it likes
            return
        if found := leaks_since(before, *STARTER.kept):
            left = f"left in the test process: {', '.join(found)}"
            line = f"{test_name(self)} {left}"
            if read_settings().strict_leaks:
                raise LeakError(line)
            note(self, left)
            print(f"\ntorch_testing_shim: {line}", file=sys.__stderr__ or sys.stderr, flush=True)

    def subTest(self, msg: Any = NO_MESSAGE, **params: Any) -> contextlib.AbstractContextManager[None]:
        """Run unittest's `subTest`, in ranks too: an exception is reported with the parameters, and the test goes
        on."""
        steps = current_steps()
        if steps is not None:
            return steps.subtest(msg, params)
        return super().subTest(**params) if msg is NO_MESSAGE else super().subTest(msg, **params)

    def _callSetUp(self) -> None:
        """Run unittest's first step."""
        with ends_forked_children():
            super()._callSetUp()  # type: ignore[misc]

    def _callTearDown(self) -> None:
        """Run unittest's step after the test."""
        with ends_forked_children():
            super()._callTearDown()  # type: ignore[misc]

    def _callTestMethod(self, method: Callable[[], Any]) -> None:
        """Run unittest's step between `setUp` and `tearDown`."""
        settings = as_assigned(settings_or_default())
        command = repro_command(type(self), self._testMethodName, settings, is_pytests=self._is_pytests)
        with skips_as_known(self._is_pytests), repro_on_failure(command), ends_forked_children():
            require_plain(self.setUp, self.tearDown)
            super()._callTestMethod(checked_test(method, self))  # type: ignore[misc]

    def _callCleanup(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        """Run unittest's step for one cleanup."""
        step = function if is_asyncio_case(self) else checked_step(function)
        with ends_forked_children():
            super()._callCleanup(step, *args, **kwargs)  # type: ignore[misc]


def _stop_suite(test: unittest.TestCase, result: Any) -> None:
    """Stop the run after `test`. `result` is what it ran with: unittest's, or pytest's own for one test."""
    reason = f"no other test can run in this process after {test_name(test)}, as its _should_stop_test_suite says"
    print(f"torch_testing_shim: {reason}", file=sys.__stderr__ or sys.stderr, flush=True)
    session = getattr(result, "session", None)
    if session is not None:
        session.shouldstop = reason
    elif result is not None:
        result.stop()
