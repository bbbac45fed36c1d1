"""Finds functions of libraries that were given other code or other defaults: the attribute still has the same function.

To look at a function's code copies its page in a forked rank, so the functions are compared in turns.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

__unittest = True  # unittest and pytest leave the frames of this module out of a report

_inside = operator.attrgetter("__code__", "__defaults__", "__kwdefaults__")


class LibraryFunctions:
    """Functions, and what each had inside when it was first seen."""

    def __init__(self) -> None:
        self._functions: list[types.FunctionType] = []
        self._known: list[tuple[Any, ...]] = []
        self._seen: set[int] = set()

    def record(self, attributes: Mapping[str, Any]) -> None:
        """Record the functions and methods of a module or class, which stay alive from now on."""
        found = [each for each in _functions_of(attributes.values()) if id(each) not in self._seen]
        self._seen.update(map(id, found))
        self._functions += found
        self._known += map(_inside, found)

    def replaced(self, turn: slice) -> Iterator[str]:
        """Yield a sentence for each function of a turn that has been given something else. Each is told once."""
        functions = self._functions[turn]
        now = list(map(_inside, functions))
        known = self._known[turn]
        if _are_same(known, now):
            return
        for function, before, after in zip(functions, known, now, strict=True):
            if not _are_same([before], [after]):
                yield f"{function.__module__}.{function.__qualname__} was given other code or defaults"
        self._known[turn] = now


def _are_same(one: Iterable[tuple[Any, ...]], other: Iterable[tuple[Any, ...]]) -> bool:
    return all(map(operator.is_, chain.from_iterable(one), chain.from_iterable(other)))


def _functions_of(values: Iterable[Any]) -> Iterator[types.FunctionType]:
    for value in values:
        function = value.__func__ if type(value) in (staticmethod, classmethod) else value
        if type(function) is types.FunctionType:
            yield function
