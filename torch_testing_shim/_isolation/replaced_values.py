"""Judges a change in a library's attributes or tables: whether a test has made it, or the library as it was used."""

from __future__ import annotations

import datetime
import enum
import re
import sys
import types
import unittest.mock
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch

from torch_testing_shim._isolation.module_origins import is_of_library

__unittest = True  # unittest and pytest leave the frames of this module out of a report

_ABSENT: Any = object()
#: Types of values that count as flags.
FLAGS = (bool, int, float, str, bytes, type(None), enum.Enum, datetime.timedelta, torch.dtype, torch.device)
#: Names of numbers that count what has been made or how often it has changed, as `RemovableHandle.next_id` does, or
#: tell whether it has.
_COUNTERS = re.compile(r"(next_?id|count(er)?|_epoch|cache_(hits|misses)|nth_graph|config_hash)\Z", re.IGNORECASE)
#: By these, functions that torch puts around its own are known: for the profiler, and for torch.compile once dynamo is
#: imported.
_MARKS_OF_WRAPPERS = ("hooked", "_torchdynamo_disable")
_FILE_OF_WRAPPERS = torch._compile.__file__


def are_equal(now: Mapping[str, Any], known: dict[str, Any]) -> bool:
    """Return whether all values are the same, as far as they can be compared."""
    try:
        return bool(now == known)
    except Exception:  # values that were replaced may not be comparable, as tensors are
        return False


def replaced_names(now: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of attributes that a test has replaced or removed."""
    for name, value in known.items():
        found = now.get(name, _ABSENT)
        if found is not value and counts(value) and not _is_normal_use(name, value, found):
            yield name


def counts(value: Any) -> bool:
    """Return whether tests replace attributes of this kind: modules, classes, functions, flags."""
    kind = type(value)
    parts = (types.ModuleType, type, staticmethod, classmethod, property, *FLAGS)
    return issubclass(kind, parts) or callable(value)


def is_wrapper_of_torch(value: Any) -> bool:
    """Return whether torch has put a function around one of its own."""
    if not issubclass(type(value), types.FunctionType) or not hasattr(value, "__wrapped__"):
        return False
    is_marked = any(getattr(value, mark, False) is True for mark in _MARKS_OF_WRAPPERS)
    return is_marked or value.__code__.co_filename == _FILE_OF_WRAPPERS


def is_of_tests(value: Any) -> bool:
    """Return whether a function or class is one of a test file or of a helper of its, or an object is of such a class
    or a mock, or a tuple has one."""
    kind = type(value)
    if kind is tuple:
        return any(map(is_of_tests, value))
    if issubclass(kind, unittest.mock.NonCallableMock):
        return True
    owner = value if issubclass(kind, (types.FunctionType, type)) else kind
    module = sys.modules.get(owner.__module__) if isinstance(owner.__module__, str) else None
    return module is not None and not is_of_library(module)


def is_changed_by_test(before: Collection[Any], now: Collection[Any]) -> bool:
    """Return whether a table (a dictionary, list or set) has been changed as tests do, and not as caches and count
    are in use."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = before.keys() | now.keys()
        changed = [key for key in keys if before.get(key, _ABSENT) is not now.get(key, _ABSENT)]
        return any(
            is_of_tests((key, now.get(key))) or _is_other_entry(before.get(key), now.get(key)) for key in changed
        )
    known = set(map(id, before))
    return any(is_of_tests(value) for value in now if id(value) not in known)


def _is_other_entry(value: Any, now: Any) -> bool:
    if issubclass(type(value), (types.FunctionType, type)):
        return not (is_wrapper_of_torch(now) and now.__wrapped__ is value)
    return issubclass(type(value), (str, tuple)) and value != now


def _is_normal_use(name: str, value: Any, found: Any) -> bool:
    """Return whether a library may have set an attribute anew as it was used: an equal value, a number that counts, or
    what it makes when it is first asked for it."""
    if is_wrapper_of_torch(found) and found.__wrapped__ is value:
        return True
    if value is None:
        return found is not _ABSENT and (not counts(found) or _is_count(name, found))
    return _are_same_flag(found, value) or (type(value) is int and _is_count(name, found))


def _is_count(name: str, found: Any) -> bool:
    return type(found) is int and _COUNTERS.search(name) is not None


def _are_same_flag(one: Any, other: Any) -> bool:
    return issubclass(type(one), FLAGS) and type(one) is type(other) and bool(one == other)
