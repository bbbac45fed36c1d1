"""Checks that bodies of tests and cleanups run, by what they return: a body that never ran is not a pass."""

from __future__ import annotations

import inspect
import sys
import unittest
from collections.abc import Callable
from typing import Any

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Characters of a returned value that are shown.
_SHOWN = 80
_COROUTINE = "it is a coroutine, which nobody awaits here: write a plain function that calls asyncio.run"
_GENERATOR = "it has a `yield`, so that a call of it makes a generator"


class UnrunBodyError(TypeError):
    """A function was called and its body did not run, or a test returned a value; the message is one sentence."""


def checked_test(test: Callable[..., Any], case: unittest.TestCase | None = None) -> Callable[..., Any]:
    """Wrap a test method to raise `UnrunBodyError` where it returns anything. A test that is expected to fail has not
    failed then: that is said on stderr, and it passes, which is an unexpected success. `case` is the test case whose
    `run` calls the method; None in a rank, where nothing is awaited."""

    def call(*args: Any, **kwargs: Any) -> None:
        _check_returned(test, test(*args, **kwargs))

    async def call_and_await(*args: Any, **kwargs: Any) -> None:
        _check_returned(test, await test(*args, **kwargs))

    return call_and_await if is_asyncio_case(case) and inspect.iscoroutinefunction(test) else call


def checked_step(function: Callable[..., Any]) -> Callable[..., None]:
    """Wrap a function, a cleanup for example, to raise `UnrunBodyError` where its body has not run. It may return any
    value."""

    def call(*args: Any, **kwargs: Any) -> None:
        _require_begun(_name(function), function(*args, **kwargs))

    return call


def require_plain(*functions: Callable[..., Any]) -> None:
    """Raise `UnrunBodyError` if one of the functions is a coroutine function or has a `yield`, so that its body does
    not run when it is called."""
    for function in functions:
        if inspect.iscoroutinefunction(function):
            raise UnrunBodyError(_never_ran(_name(function), _COROUTINE))
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise UnrunBodyError(_never_ran(_name(function), _GENERATOR))


def is_asyncio_case(case: unittest.TestCase | None) -> bool:
    """Whether it is an `IsolatedAsyncioTestCase`, which awaits its coroutines."""
    module = sys.modules.get("unittest.async_case")  # not imported: asyncio is heavy
    return module is not None and isinstance(case, module.IsolatedAsyncioTestCase)


def close_event_loop(case: unittest.TestCase) -> bool:
    """Close the event loop of an `IsolatedAsyncioTestCase` at its end, as its `run` does a little later, so that the
    loop's descriptors and threads do not count as left by the test. Return False where it has a loop that cannot be
    closed (Python 3.10)."""
    runner = vars(case).get("_asyncioRunner")  # unittest's
    if runner is not None:
        runner.close()
    return runner is not None or not is_asyncio_case(case)


def _check_returned(test: Callable[..., Any], returned: object) -> None:
    name = _name(test)
    try:
        _require_begun(name, returned)
        if returned is not None:
            raise UnrunBodyError(
                f"{name} returned {_shown(returned)}: a test returns None, and asserts what has to hold"
            )
    except UnrunBodyError as error:
        if not _is_expected_failure(test):
            raise
        print(f"an expected failure that did not happen: {error}", file=sys.stderr)


def _is_expected_failure(test: Callable[..., Any]) -> bool:
    """Whether `unittest.expectedFailure` stands above the test, or above the class of a method."""
    mark = "__unittest_expecting_failure__"
    return bool(getattr(test, mark, False) or getattr(getattr(test, "__self__", None), mark, False))


def _require_begun(name: str, returned: object) -> None:
    if inspect.iscoroutine(returned):
        returned.close()  # or Python warns of it, too
        raise UnrunBodyError(_never_ran(name, _COROUTINE))
    if inspect.isgenerator(returned) or inspect.isasyncgen(returned):
        raise UnrunBodyError(_never_ran(name, _GENERATOR))


def _never_ran(name: str, why: str) -> str:
    return f"the body of {name} never ran: {why}"


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", None) or type(function).__name__)


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
