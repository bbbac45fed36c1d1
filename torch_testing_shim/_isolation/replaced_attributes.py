"""Finds attributes of modules and classes of libraries that have been replaced: functions, classes, modules and flags.

Each module's and class's dictionary is copied once, and compared with its copy by Python's `==` of dictionaries, which
looks at identities first: 80,000 attributes take two milliseconds. Attributes that are new in a module count where they
are functions or classes of a test: a library imports and caches as it is used.
"""

from __future__ import annotations

import enum
import re
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from torch_testing_shim._isolation.module_origins import is_of_library

__unittest = True  # unittest and pytest leave the frames of this module out of a report

_ABSENT: Any = object()
#: Types of values that count as flags.
_FLAGS = (bool, int, float, str, bytes, type(None), enum.Enum, torch.dtype, torch.device)
#: Names of numbers that count what has been made or how often it has changed, as `RemovableHandle.next_id` does.
_COUNTERS = re.compile(r"next_?id\Z|counter\Z|_epoch\Z", re.IGNORECASE)
#: Attributes that Python or torch sets as they are used.
_SET_IN_USE = frozenset({"__warningregistry__", "__abstractmethods__", "__doc__", "__annotations__", "_abc_impl"})


class LibraryAttributes:
    """The attributes of modules, and of the classes that they define, when each of them was first seen."""

    def __init__(self) -> None:
        self._modules: dict[str, tuple[Mapping[str, Any], dict[str, Any]]] = {}
        self._seen: set[str] = set()
        self._classes: dict[type, tuple[Mapping[str, Any], dict[str, Any]]] = {}

    def record_new(self) -> list[Any]:
        """Record the modules of libraries that have been imported since the last call. Return the other new ones."""
        others = []
        for name in sys.modules.keys() - self._seen:
            module = sys.modules[name]
            if module is not None and is_of_library(module):
                attributes = vars(module)
                self._modules[name] = attributes, dict(attributes)
                self._record_classes(attributes)
            elif module is not None:
                others.append(module)
        self._seen.update(sys.modules)
        return others

    def _record_classes(self, attributes: Mapping[str, Any]) -> None:
        for value in attributes.values():
            # `isinstance` would ask torch's deprecated names for their class, and they would warn
            if issubclass(type(value), type) and value not in self._classes and _top(value) in _WITH_CLASSES:
                self._classes[value] = vars(value), dict(vars(value))

    def replaced(self) -> Iterator[str]:
        """Yield a sentence for each attribute that is another one than at first. Each is told once."""
        for name, (now, known) in self._modules.items():
            if not _are_equal(now, known):
                for attribute in _changed(now, known):
                    yield f"{name}.{attribute} was {'replaced' if attribute in now else 'removed'}"
                for attribute in now.keys() - known.keys():
                    if name == "builtins" or _is_of_tests(now[attribute]):
                        yield f"{name}.{attribute} was added"
                known.update(now)
        for found, (now, known) in self._classes.items():
            if not _are_equal(now, known):
                added = [each for each in now.keys() - known.keys() if callable(getattr(found, each, None))]
                for attribute in (*_changed(now, known), *(each for each in added if each not in _SET_IN_USE)):
                    deed = "removed" if attribute not in now else "replaced" if attribute in known else "added"
                    yield f"{found.__module__}.{found.__qualname__}.{attribute} was {deed}"
                known.clear()
                known.update(now)


#: Packages whose classes are looked into.
_WITH_CLASSES = frozenset({"torch", "torch_testing_shim", *sys.stdlib_module_names})


def _top(found: type) -> str:
    module = getattr(found, "__module__", None)
    return module.partition(".")[0] if isinstance(module, str) else ""


def _are_equal(now: Mapping[str, Any], known: dict[str, Any]) -> bool:
    try:
        return bool(now == known)
    except Exception:  # values that were replaced may not be comparable, as tensors are
        return False


def _changed(now: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    for name, value in list(known.items()):
        found = now.get(name, _ABSENT)
        if found is not value and name not in _SET_IN_USE and _counts(value) and not _is_normal_use(name, value, found):
            yield name


def _counts(value: Any) -> bool:
    kind = type(value)
    return (
        issubclass(kind, (types.ModuleType, type, *_FLAGS))
        or callable(value)
        or issubclass(kind, (staticmethod, classmethod, property))
    )


def _is_of_tests(value: Any) -> bool:
    """Return whether a function or class is one of a test file or of a helper of its."""
    if not issubclass(type(value), (types.FunctionType, type)):
        return False
    module = sys.modules.get(value.__module__)
    return module is not None and not is_of_library(module)


def _is_normal_use(name: str, value: Any, found: Any) -> bool:
    """Return whether a library may have set an attribute anew as it was used: an equal value, a number that counts, or
    what it makes when it is first asked for it."""
    if value is None:
        return found is not _ABSENT and not _counts(found)
    return _are_same_flag(found, value) or (type(value) is int is type(found) and bool(_COUNTERS.search(name)))


def _are_same_flag(one: Any, other: Any) -> bool:
    return issubclass(type(one), _FLAGS) and type(one) is type(other) and bool(one == other)
