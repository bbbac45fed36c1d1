"""A test's body in ranks: what all test cases with ranks share, and many subtests in one set of ranks."""

from __future__ import annotations

import itertools
import unittest
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch.distributed as dist

from torch_testing_shim._cases.base import TestCase
from torch_testing_shim._engine.channel import THIS_RANK
from torch_testing_shim._engine.job import LaunchError
from torch_testing_shim._engine.launcher import STARTER
from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._engine.rank_steps import NO_MESSAGE, RankSteps, current_steps
from torch_testing_shim._isolation.torch_state import reset_dynamo
from torch_testing_shim._skips.conditions import skip_reason

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_NO_TEST = "runTest"


class RankTestCase(TestCase):
    """A test case whose methods run in ranks.

    The test process has an instance, and so has each rank. Each runs, in place of its test method, what a wrapper (most
    classes call it `join_or_run`) makes of the method: in a rank the body, in the test process the wait for the ranks.
    """

    #: The name of the method that wraps test methods. Upstream's names for it differ.
    _wrapper: ClassVar[str] = "join_or_run"
    #: Ranks are processes, so the modules of subclasses may be imported for them in advance.
    _ranks_are_processes: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls._ranks_are_processes and not cls.__module__.startswith("torch_testing_shim."):
            STARTER.expect(cls.__module__)

    def __init__(self, method_name: str = _NO_TEST, methodName: str = _NO_TEST) -> None:
        name = methodName if methodName != _NO_TEST else method_name
        super().__init__(name)
        method = getattr(self, name, None)
        if method is not None:  # unittest has raised where a test was asked for
            setattr(self, name, getattr(self, self._wrapper)(method))

    def _require_set_up(self) -> None:
        """Check that a subclass's `setUp` has called the harness's."""
        if not self._is_set_up:
            raise self._no_rank("")

    def _no_rank(self, start: str) -> LaunchError:
        """Make the error that says why no rank was started.

        Args:
            start: the method by which `setUp` starts ranks; empty where the harness's own `setUp` does.
        """
        missing = f"end with self.{start}()" if start and self._is_set_up else "begin with super().setUp()"
        return LaunchError(f"no rank was started: setUp has to {missing}")

    def _skip_by_conditions(self, name: str) -> None:
        """Skip the test where a decorator of its method says that it cannot run here."""
        if (reason := skip_reason(self, getattr(type(self), name))) is not None:
            raise unittest.SkipTest(reason)

    @classmethod
    def _steps(cls, rank: int, name: str, tell: Callable[[RankOutcome], object] = lambda _: None) -> RankSteps:
        """Make the steps of a test in a rank that is a process; `tell` is as in `RankSteps`."""
        channel = THIS_RANK.channel
        assert channel is not None, "tests are run in ranks"
        mark = "__unittest_expecting_failure__"  # of `unittest.expectedFailure`, above the method or its class
        is_expected = getattr(cls, mark, False) or getattr(getattr(cls, name, None), mark, False)
        return RankSteps(
            rank, cls.failureException, tell=tell, tell_subtest=channel.send_subtest, is_expected=bool(is_expected)
        )


def run_subtests(
    cls_inst: unittest.TestCase,
    subtest_config: dict[str, Sequence[Any]],
    test_fn: Callable[..., object],
    *test_args: Any,
    **test_kwargs: Any,
) -> None:
    """Call `test_fn` with each combination of the values in `subtest_config`. All ranks wait for each other after each,
    so that ranks and process group are set up only once (upstream's `run_subtests`, torch 2.13).

    Args:
        cls_inst: the test case.
        subtest_config: keyword argument of `test_fn` -> its values.
        test_fn: the check; it also gets `test_args` and `test_kwargs`.

    A combination that fails is reported with its values, and in a rank it ends the test.
    """
    steps = current_steps()
    for values in itertools.product(*subtest_config.values()):
        chosen = dict(zip(subtest_config, values, strict=True))
        reset_dynamo()
        # In a rank a failed one is the last: the others wait at the barrier, or in one of its collectives.
        with cls_inst.subTest(**chosen) if steps is None else steps.subtest(NO_MESSAGE, chosen, is_last=True):
            test_fn(*test_args, **test_kwargs, **chosen)
        reset_dynamo()
        dist.barrier()
