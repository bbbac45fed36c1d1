"""A test in its rank, step by step: each is taken whatever became of the others, as unittest takes its own."""

from __future__ import annotations

import functools
import unittest
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["cleanup_steps", "take_steps"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def take_steps(
    steps: Iterable[Callable[[], object]], on_error: Callable[[BaseException], object] = lambda _: None
) -> None:
    """Takes every step and raises the first error, a skip only where there is nothing else.

    Args:
        steps: are asked for one by one.
        on_error: is told each error at once.
    """
    first: BaseException | None = None
    for step in steps:
        try:
            step()
        except BaseException as error:
            on_error(error)
            if first is None or (isinstance(first, unittest.SkipTest) and not isinstance(error, unittest.SkipTest)):
                first = error
    if first is not None:
        raise first


def cleanup_steps(test_case: Any) -> Iterator[Callable[[], object]]:
    """The cleanups that a test has added, last first; to be asked for one by one, since each may add more. unittest's
    own `doCleanups` keeps no exception where no result is at hand."""
    while test_case._cleanups:
        function, args, kwargs = test_case._cleanups.pop()
        yield functools.partial(function, *args, **kwargs)
