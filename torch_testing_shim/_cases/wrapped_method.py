"""How a test case whose body runs in ranks puts its own way of running before the test method that it was made for."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

from torch_testing_shim._engine.job import LaunchError

__all__ = ["chosen_name", "is_expected_failure", "no_rank", "require_set_up", "wrap_method"]

_NO_TEST = "runTest"


def chosen_name(method_name: str, methodName: str) -> str:
    """The test method's name, whichever of upstream's two spellings of the argument has it."""
    return methodName if methodName != _NO_TEST else method_name


def wrap_method(case: unittest.TestCase, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Has the instance run `wrap(method)` in place of its test method.

    Raises:
        ValueError: it has no method of this name, and a test was asked for.
    """
    method = getattr(case, name, None)
    if method is not None:
        setattr(case, name, wrap(method))
    elif name != _NO_TEST:
        raise ValueError(f"there is no test method {name!r} in {type(case)}")


def is_expected_failure(case_class: type, name: str) -> bool:
    """Whether `unittest.expectedFailure` stands above a test method, or above its class."""
    mark = "__unittest_expecting_failure__"
    return bool(getattr(case_class, mark, False) or getattr(getattr(case_class, name, None), mark, False))


def require_set_up(case: Any) -> None:
    """Checks that a test case's `setUp` has come to the harness's.

    Raises:
        LaunchError: it has not, so that nothing is there to start ranks with.
    """
    if not case._is_set_up:
        raise no_rank(case, "")


def no_rank(case: Any, start: str) -> LaunchError:
    """Says why no rank was started.

    Args:
        case: the test case.
        start: the method by which its `setUp` starts ranks; empty where the harness's own `setUp` does.
    """
    missing = f"end with self.{start}()" if start and case._is_set_up else "begin with super().setUp()"
    return LaunchError(f"no rank was started: setUp has to {missing}")
