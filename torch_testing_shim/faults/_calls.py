"""Watches the calls of a function: of a module's, or of a method in a class and all its subclasses.

Functions are replaced for the block and put back at its end, in whatever thread they are called.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

from torch_testing_shim.faults._points import CallPoint

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Function = Callable[..., Any]


@contextmanager
def watch_calls(point: CallPoint, listener: Callable[[], None]) -> Iterator[None]:
    """Call the listener for each call of the point's functions, in the calling thread; its exceptions are raised there.
    A call made inside such a call (a method that calls its base's) does not count.

    Raises:
        ValueError: a function belongs to a class that cannot be changed, one written in C.
    """
    inside = threading.local()

    def counted(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if getattr(inside, "entered", False):
                return function(*args, **kwargs)
            inside.entered = True
            try:
                if not point.after:
                    listener()
                result = function(*args, **kwargs)
                if point.after:
                    listener()
                return result
            finally:
                inside.entered = False

        return wrapper

    with ExitStack() as stack:
        for name in point.functions:
            for holder, function in _versions(point.owner, name):
                stack.enter_context(_replaced(holder, name, counted(function)))
        yield


def _versions(owner: type | ModuleType, name: str) -> list[tuple[type | ModuleType, Function]]:
    """Find where the function has to be replaced, and what is there now."""
    if isinstance(owner, ModuleType):
        return [(owner, getattr(owner, name))]
    holders = [cls for cls in _family(owner) if name in vars(cls)]
    versions: list[tuple[type | ModuleType, Function]] = [(cls, vars(cls)[name]) for cls in holders]
    if owner not in holders:
        versions.append((owner, _inherited(owner, name)))
    return versions


def _family(cls: type) -> list[type]:
    """Return the class and all its subclasses, each once."""
    derived: list[type] = cls.__subclasses__()
    return list(dict.fromkeys([cls, *(below for one in derived for below in _family(one))]))


def _inherited(owner: type, name: str) -> Function:
    def call_base(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(super(owner, self), name)(*args, **kwargs)

    return call_base


@contextmanager
def _replaced(holder: type | ModuleType, name: str, function: Function) -> Iterator[None]:
    own = vars(holder).get(name)
    try:
        setattr(holder, name, function)
    except TypeError as error:
        raise ValueError(f"calls of {holder.__name__}.{name} cannot be counted: {error}") from error
    try:
        yield
    finally:
        if own is None:
            delattr(holder, name)
        else:
            setattr(holder, name, own)
