"""Conditions of a test that are decided without its ranks: whether it is skipped, and whether it runs on the CPU.

A decorator sets its condition as an attribute of the function that it returns. `functools.wraps` copies the attribute
to outer decorators, so the controller finds it on the finished test method and checks it before it starts a rank. For
decorators that do not use `functools.wraps`, the condition is checked again inside the rank.
"""

from __future__ import annotations

import functools
import unittest
from collections.abc import Callable
from typing import Any, TypeVar, cast

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Returns why a test cannot run, or None where it can. The argument is the test instance.
Condition = Callable[[unittest.TestCase], "str | None"]
Test = TypeVar("Test", bound=Callable[..., Any])

_ATTRIBUTE = "_torch_testing_shim_conditions"
_ON_CPU = "_torch_testing_shim_on_cpu"


def skip_where(condition: Condition) -> Callable[[Test], Test]:
    """Make a decorator that skips a test, or each test of a class, where `condition` gives a reason."""

    def decorate(test: Test) -> Test:
        if isinstance(test, type):
            _skip_tests_of(test, condition)
            return test

        @functools.wraps(test)
        def wrapper(self: unittest.TestCase, *args: Any, **kwargs: Any) -> Any:
            reason = condition(self)
            if reason is not None:
                raise unittest.SkipTest(reason)
            return test(self, *args, **kwargs)

        setattr(wrapper, _ATTRIBUTE, (condition, *getattr(test, _ATTRIBUTE, ())))
        return cast(Test, wrapper)

    return decorate


def _skip_tests_of(test_class: Any, condition: Condition) -> None:
    """Have the tests of a class and its subclasses check the condition before `setUp`, which starts ranks."""
    own = vars(test_class).get("setUp")

    def set_up(self: unittest.TestCase) -> None:
        reason = condition(self)
        if reason is not None:
            raise unittest.SkipTest(reason)
        if own is None:
            super(test_class, self).setUp()
        else:
            own(self)

    test_class.setUp = set_up if own is None else functools.wraps(own)(set_up)


def on_cpu_where(condition: Callable[[], bool]) -> Callable[[Test], Test]:
    """Make a decorator that runs a test, or the tests of a class, on the CPU where `condition` holds, as if the CPU had
    been chosen by hand."""

    def decorate(test: Test) -> Test:
        if isinstance(test, type):
            setattr(test, _ON_CPU, (condition, *getattr(test, _ON_CPU, ())))
            return test

        @functools.wraps(test)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return test(*args, **kwargs)

        setattr(wrapper, _ON_CPU, (condition, *getattr(test, _ON_CPU, ())))
        return cast(Test, wrapper)

    return decorate


def runs_on_cpu(test_class: type, method: Callable[..., Any] | None) -> bool:
    """Return whether a test runs on the CPU whatever accelerators there are."""
    return any(condition() for marked in (test_class, method) for condition in getattr(marked, _ON_CPU, ()))


def skip_reason(test_case: unittest.TestCase, method: Callable[..., Any]) -> str | None:
    """Return why `method` cannot run, by the first of its conditions that gives a reason; None where there is none."""
    reasons = (condition(test_case) for condition in getattr(method, _ATTRIBUTE, ()))
    return next((reason for reason in reasons if reason is not None), None)
