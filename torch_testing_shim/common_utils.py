"""Upstream's `torch.testing._internal.common_utils`: what every test file imports.

Only `TestCase` is put together here; all other names come from the private modules that do what they say. Flags
that cost something to answer (`TEST_CUDA`, `IS_CI`) are asked when a test names them.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import sys
import unittest
from collections.abc import Callable
from typing import Any

import torch

from torch_testing_shim._assertions import TensorAssertions
from torch_testing_shim._engine.driver import lost_accelerator
from torch_testing_shim._engine.forked_child import ends_forked_children
from torch_testing_shim._engine.launcher import STARTER
from torch_testing_shim._engine.rank_steps import NO_MESSAGE, current_steps
from torch_testing_shim._engine.unrun_body import (
    checked_step,
    checked_test,
    close_event_loop,
    is_asyncio_case,
    require_plain,
)
from torch_testing_shim._expected_output import ExpectedOutput
from torch_testing_shim._flags import (
    FILE_SCHEMA,
    IS_ARM64,
    IS_FBCODE,
    IS_LINUX,
    IS_MACOS,
    IS_REMOTE_GPU,
    IS_SANDCASTLE,
    IS_WINDOWS,
    IS_X86,
    LAZY_FLAGS,
    NO_MULTIPROCESSING_SPAWN,
    TEST_WITH_AOT_EAGER,
    TEST_WITH_CROSSREF,
    TEST_WITH_ROCM,
    TEST_WITH_TORCHDYNAMO,
    TEST_WITH_TORCHINDUCTOR,
    as_assigned,
    settings_or_default,
)
from torch_testing_shim._guards import (
    DeterministicGuard,
    SwapTensorsGuard,
    kept_torch_state,
    set_default_dtype,
    suppress_warnings,
    wrapSwapTensorsTest,
)
from torch_testing_shim._hardware import (
    HardwareClassification,
    filter_by_hw_classification,
    get_hw_classification,
)
from torch_testing_shim._hypothesis_profiles import load_profile_with_hypothesis
from torch_testing_shim._leaks import LeakError, Snapshot, leaks_since, take_snapshot
from torch_testing_shim._rank_free import runs_on_cpu
from torch_testing_shim._repro import repro_command, repro_on_failure
from torch_testing_shim._running_script import load_tests
from torch_testing_shim._seeds import SEED, freeze_rng_state, set_rng_seed
from torch_testing_shim._settings import changed_environment, read_settings
from torch_testing_shim._skip_marks import (
    SLOW_MARK,
    lazy_skip_if,
    requires_accelerator,
    requires_cuda,
    requires_multigpu,
    serialTest,
    skip_but_pass_in_sandcastle,
    skip_but_pass_in_sandcastle_if,
    skip_if_pytest,
    skipIfRocm,
    skipIfTorchDynamo,
    slowTest,
    slowTestIf,
)
from torch_testing_shim._skips import skips_as_known
from torch_testing_shim._suite_stop import stop_suite
from torch_testing_shim._test_gates import reason_not_to_run
from torch_testing_shim._test_notes import note
from torch_testing_shim._test_program import run_tests
from torch_testing_shim._test_selection import test_name
from torch_testing_shim._unittest_assertions import UnittestAssertions
from torch_testing_shim._upstream.class_rest import TorchsRest
from torch_testing_shim._upstream.graft import grafted, served

# What is ours, besides the names that are answered when asked; a graft takes no other definition of them.
__all__ = [
    "FILE_SCHEMA",
    "IS_ARM64",
    "IS_FBCODE",
    "IS_LINUX",
    "IS_MACOS",
    "IS_REMOTE_GPU",
    "IS_SANDCASTLE",
    "IS_WINDOWS",
    "IS_X86",
    "NO_MULTIPROCESSING_SPAWN",
    "SEED",
    "TEST_WITH_AOT_EAGER",
    "TEST_WITH_CROSSREF",
    "TEST_WITH_ROCM",
    "TEST_WITH_TORCHDYNAMO",
    "TEST_WITH_TORCHINDUCTOR",
    "DeterministicGuard",
    "HardwareClassification",
    "NoTest",
    "SwapTensorsGuard",
    "TestCase",
    "dtype2prec_DONTUSE",
    "filter_by_hw_classification",
    "freeze_rng_state",
    "get_hw_classification",
    "lazy_skip_if",
    "load_tests",
    "requires_accelerator",
    "requires_cuda",
    "requires_multigpu",
    "run_tests",
    "serialTest",
    "set_default_dtype",
    "set_rng_seed",
    "skipIfRocm",
    "skipIfTorchDynamo",
    "skip_but_pass_in_sandcastle",
    "skip_but_pass_in_sandcastle_if",
    "skip_if_pytest",
    "slowTest",
    "slowTestIf",
    "suppress_warnings",
    "wrapSwapTensorsTest",
]

__unittest = True  # unittest and pytest leave the frames of this module out of a report

# A profile holds for the @given tests that are defined after it is loaded, so it is loaded before a test file goes on.
load_profile_with_hypothesis(settings_or_default())

#: Precisions of old tests of modules; upstream's name says what to think of it.
dtype2prec_DONTUSE = {torch.float: 1e-5, torch.double: 1e-5, torch.half: 1e-2, torch.bfloat16: 1e-1}


_HOW_OURS_STARTS = {
    # torch's statement that binds these two also sets hypothesis's profiles, which is ours to do.
    "hypothesis": lambda: importlib.import_module("hypothesis"),
    "settings": lambda: importlib.import_module("hypothesis").settings,
    # torch's has none before its own `run_tests` has read the command line.
    "GRAPH_EXECUTOR": lambda: grafted(__name__, "cppProfilingFlagsToProfilingMode")(),
}
__getattr__ = served(__name__, {**LAZY_FLAGS, **_HOW_OURS_STARTS})


class NoTest:
    """Base of classes that pytest must not take for tests, whatever they are called."""

    __test__ = False


def _prepare_before_set_up(test_class: Any) -> None:
    """Has `setUpClass`, the class's own or that of a mixin, find the ranks prepared, so that no rank sees what it does
    to classes and modules: else ranks would, where the class is the first to run."""
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
    """A `setUpClass` before which ranks are prepared."""


class TestCase(TensorAssertions, ExpectedOutput, UnittestAssertions):
    """A `unittest.TestCase` that compares tensors, seeds all generators before each test, knows slow and disabled
    tests, and says with a failure how to run that test again (upstream: `TestCase`, torch 2.13).

    Args:
        method_name, methodName: the test method; both spellings are upstream's.
    """

    maxDiff = None
    rest_is_torchs = TorchsRest()
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
        """Runs the test, after what has to be done before the first test of the process, and with its cleanups also
        where Ctrl-C ends it (unittest leaves them out)."""
        STARTER.prepare()
        self._is_pytests = type(result).__module__.startswith("_pytest.")
        self._stops_at_subtest = bool(getattr(result, "failfast", False))
        self.addCleanup(self._check_leaks, take_snapshot())  # the first to be added is the last to run
        try:
            found = super().run(result)
        except BaseException:
            self.doCleanups()
            raise
        if self._should_stop_test_suite():
            stop_suite(self, found if result is None else result)
        return found

    def _should_stop_test_suite(self) -> bool:
        """Whether no other test can run in this process, which is asked after each; by default, whether the accelerator
        that runs in it has failed for good. Tests that were to run and did not fail the run."""
        if (lost := lost_accelerator()) is not None:
            print(f"\n{lost}", file=sys.stderr, flush=True)
        return lost is not None

    def setUp(self) -> None:
        """Subclasses call it first.

        Raises:
            unittest.SkipTest: the test is not to run.
        """
        super().setUp()
        self._is_set_up = True
        # Asked of the class: on the instance, a test of several processes has another method in its place.
        method: Any = getattr(type(self), self._testMethodName, None)
        is_slow = getattr(method, SLOW_MARK, False)
        settings = as_assigned(read_settings())
        reason = reason_not_to_run(type(self).__name__, self._testMethodName, is_slow, settings)
        if reason is not None:
            raise unittest.SkipTest(reason)
        state = contextlib.ExitStack()
        if runs_on_cpu(type(self), method):
            state.enter_context(changed_environment({"TORCH_TESTING_SHIM_DEVICE": "cpu"}))
        set_rng_seed()
        state.enter_context(kept_torch_state())
        self.addCleanup(state.close)

    def doCleanups(self) -> Any:
        """unittest's last step, also of a test that failed or was interrupted."""
        outcome = getattr(self, "_outcome", None)  # unittest's; there is none once the test was interrupted
        self._passes = outcome is not None and outcome.success
        return super().doCleanups()

    def _check_leaks(self, before: Snapshot) -> None:
        """Tells what a test that has passed so far leaves in this process.

        Raises:
            LeakError: it leaves something, and leaks are failures in this run.
        """
        if not self._passes or not close_event_loop(self):
            return
        if found := leaks_since(before, *STARTER.kept):
            left = f"left in the test process: {', '.join(found)}"
            line = f"{test_name(self)} {left}"
            if read_settings().strict_leaks:
                raise LeakError(line)
            note(self, left)
            print(f"\ntorch_testing_shim: {line}", file=sys.__stderr__ or sys.stderr, flush=True)

    def subTest(self, msg: Any = NO_MESSAGE, **params: Any) -> contextlib.AbstractContextManager[None]:
        """unittest's `subTest`, in ranks too: what it raises is told with its parameters, and the test goes on."""
        steps = current_steps()
        if steps is not None:
            return steps.subtest(msg, params)
        return super().subTest(**params) if msg is NO_MESSAGE else super().subTest(msg, **params)

    def _callSetUp(self) -> None:
        """unittest's first step."""
        with ends_forked_children():
            super()._callSetUp()  # type: ignore[misc]

    def _callTearDown(self) -> None:
        """unittest's step after the test."""
        with ends_forked_children():
            super()._callTearDown()  # type: ignore[misc]

    def _callTestMethod(self, method: Callable[[], Any]) -> None:
        """unittest's step between `setUp` and `tearDown`."""
        settings = as_assigned(settings_or_default())
        command = repro_command(type(self), self._testMethodName, settings, is_pytests=self._is_pytests)
        with skips_as_known(self._is_pytests), repro_on_failure(command), ends_forked_children():
            require_plain(self.setUp, self.tearDown)
            super()._callTestMethod(checked_test(method, self))  # type: ignore[misc]

    def _callCleanup(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        """unittest's step for one cleanup."""
        step = function if is_asyncio_case(self) else checked_step(function)
        with ends_forked_children():
            super()._callCleanup(step, *args, **kwargs)  # type: ignore[misc]
