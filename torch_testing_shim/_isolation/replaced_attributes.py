"""Finds attributes of libraries' modules and of torch's classes that have been replaced: functions, classes, modules,
flags. Attributes that are new in a module count where they are of a test: a library imports and caches as it is used.
The same holds for the tables that modules and classes have, of copiers, handlers or tolerances.

Each module's and class's dictionary is copied once, and compared with its copy after a test in which its version has
changed. Python 3.14 has no versions. There Python's `==` of dictionaries compares them. It looks at identities first;
still every value has to be fetched from memory: 98,000 take 10 ms of a rank's time, and the 23,000 that tests are known
to patch 2.7 ms (torch 2.13, Python 3.11). So these are compared after every test, and the others in turns, which begin
elsewhere in each rank. So are, with every Python, the insides of functions.
"""

from __future__ import annotations

import operator
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from torch_testing_shim._isolation.dict_versions import UNKNOWN, ChangeWatch, Version, version_of, versions_are_known
from torch_testing_shim._isolation.library_functions import LibraryFunctions
from torch_testing_shim._isolation.module_origins import is_of_library
from torch_testing_shim._isolation.replaced_values import (
    FLAGS,
    are_equal,
    counts,
    is_changed_by_test,
    is_of_tests,
    is_wrapper_of_torch,
    replaced_names,
)

__unittest = True  # unittest and pytest leave the frames of this module out of a report

#: Modules that tests are known to patch. They and the classes that they define are compared after every test.
_OFTEN = re.compile(
    r"torch(\.(_tensor|accelerator|autograd|cuda|multiprocessing|random|serialization|storage|functional"
    r"|utils|utils\.(_pytree|checkpoint|hooks|data)|optim(\..+)?|nn(\.(functional|init|parameter|parallel\..+))?"
    r"|nn\.modules(\.[^_].*)?|testing\._comparison|distributions\.kl|distributed(\.(?!elastic|launcher|pipelining|rpc|benchmarks|_tools|debug|nn|optim).+)?))?"
    r"|torch_testing_shim(\.[a-z].*)?"
    r"|builtins|copyreg|logging|multiprocessing(\..+)?|numpy\.random|os|posixpath|random|shutil|signal|subprocess|sys|tempfile|threading|time"
    r"|ssl|warnings|json(\..+)?|pickle|socket|unittest(\.(case|mock))?"
)
#: Tables that `rank_reset` puts back, or that Python fills as modules are imported and looked at, and threads started.
_OWN_TABLES = frozenset(
    {"sys.modules", "threading._active", "threading._limbo", "inspect.modulesbyfile", "inspect._filesbymodname"}
)
#: The harness's own modules, which have its own state in tables.
_HARNESS = re.compile(r"torch_testing_shim\._")
#: The others are compared in so many turns.
_TURNS = 32
#: Packages whose classes are looked into.
_WITH_CLASSES = frozenset({"torch", "torch_testing_shim", *sys.stdlib_module_names})
#: Packages that torch computes shapes with, a third of all attributes, and one that counts as it draws. No test patches
#: them.
_LEFT_OUT = frozenset({"sympy", "mpmath", "hypothesis"})
#: The type of torch.FloatTensor and the like; each has all methods of a tensor once more.
_LEGACY_TENSOR_TYPE = type(torch.FloatTensor)
#: The flag of types that Python code may change: those that C code has not fixed when it was compiled.
_HEAP_TYPE = 1 << 9
#: Attributes that Python or torch sets as they are used.
_SET_IN_USE = frozenset(
    {"__warningregistry__", "__abstractmethods__", "__doc__", "__annotations__", "_abc_impl", "__slotnames__"}
)
#: Those of one module or class.
_SET_IN_USE_THERE = frozenset({
    "torch._dynamo.device_interface._device_initialized",
    "torch._higher_order_ops.invoke_leaf_function._leaf_function_module_retriever",
    "torch._custom_class_base._FakeScriptObject_cls",
    "torch._opaque_base._FakeScriptObject_cls",
    "torch.onnx._internal.onnxruntime._SUPPORT_ONNXRT",
    "torch.autograd.profiler._cupti_monitor_checked",
    "torch.autograd.profiler._cupti_monitor_module",
    *(
        f"torch.compiler._cache.CacheInfo.{kind}_artifacts"
        for kind in ("aot_autograd", "autotune", "inductor", "pgo", "precompile")
    ),
})  # fmt: skip


_value = operator.attrgetter("value")


@dataclass(frozen=True)
class _Owner:
    """A module or class, its attributes now, and a copy of them."""

    name: str
    is_class: bool
    now: Mapping[str, Any]
    known: dict[str, Any]

    def replaced(self) -> Iterator[str]:
        """Yield a sentence for each attribute that has been replaced, and take the present ones for the known ones."""
        for attribute in (*replaced_names(self.now, self.known), *self._added()):
            name = f"{self.name}.{attribute}"
            if attribute not in _SET_IN_USE and name not in _SET_IN_USE_THERE:
                deed = "removed" if attribute not in self.now else "replaced" if attribute in self.known else "added"
                yield f"{name} was {deed}"
        self.known.clear()
        self.known.update(self.now)

    def _added(self) -> Iterator[str]:
        """Yield new attributes that count: methods, which may hide inherited ones, and what a test has put there."""
        for attribute in self.now.keys() - self.known.keys():
            value = self.now[attribute]
            is_method = self.is_class and counts(value) and not isinstance(value, FLAGS)
            if (is_method and not is_wrapper_of_torch(value)) or self.name == "builtins" or is_of_tests(value):
                yield attribute


@dataclass
class _Table:
    """A dictionary, list or set that a module or class has, its content, and a copy of it."""

    name: str
    now: Any
    known: Any = field(init=False)

    def __post_init__(self) -> None:
        self.known = self.now.copy()

    def replaced(self) -> Iterator[str]:
        """Yield a sentence where an entry of a test's has been added, or one that counts has been replaced or removed,
        and take the present ones for the known ones."""
        before, self.known = self.known, self.now.copy()
        if is_changed_by_test(before, self.now):
            yield f"{self.name} was changed"


class _Watched:
    """Modules, classes and tables, and the versions that their dictionaries had when they were compared."""

    def __init__(self) -> None:
        self._each: list[_Owner | _Table] = []
        self._versions: list[Version] = []
        self._seen: list[object] = []
        self._without: list[_Owner | _Table] = []  # those without a version

    def __len__(self) -> int:
        return len(self._each) + len(self._without)

    def add(self, each: _Owner | _Table) -> None:
        version = version_of(each.now)
        if version is UNKNOWN:
            self._without.append(each)
            return
        self._each.append(each)
        self._versions.append(version)
        self._seen.append(version.value)

    def replaced(self, turn: slice = slice(None)) -> Iterator[str]:
        """Yield a sentence for each thing that has been replaced, once; of those without a version, look at the ones of
        a turn."""
        now, seen = list(map(_value, self._versions)), self._seen
        if now != seen:
            self._seen = now
            found = [each for each, one, other in zip(self._each, now, seen, strict=True) if one != other]
            yield from _replaced_in(found)
        yield from _replaced_in(self._without[turn])


def _replaced_in(found: Iterable[_Owner | _Table]) -> Iterator[str]:
    for each in found:
        if not are_equal(each.now, each.known):
            yield from each.replaced()


class LibraryAttributes:
    """The attributes of modules, and of the classes that they define, when each of them was first seen."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._others: set[str] = set()
        self._classes: set[type] = set()
        self._tables: set[int] = set()
        self._often, self._seldom = _Watched(), _Watched()
        self._functions = LibraryFunctions()
        self._turn = 0
        self._modules = ChangeWatch()
        self._tests = 0

    def record_new(self) -> list[Any]:
        """Record the modules of libraries that have been imported since the last call. Return all others that are
        imported."""
        if self._modules.is_changed(sys.modules):
            self._record_each()
            self._modules.note(sys.modules)
        return [sys.modules[name] for name in sorted(self._others & sys.modules.keys())]

    def _record_each(self) -> None:
        for name in sorted(sys.modules.keys() - self._seen, key=lambda name: (not _OFTEN.fullmatch(name), name)):
            module = sys.modules[name]
            if module is None or name.partition(".")[0] in _LEFT_OUT:
                continue
            if not is_of_library(module):
                self._others.add(name)
                continue
            self._record(_Owner(name, False, vars(module), dict(vars(module))), name)
            for value in list(vars(module).values()):
                if _is_class(value) and value not in self._classes:
                    self._classes.add(value)
                    full_name = f"{value.__module__}.{value.__qualname__}"
                    self._record(_Owner(full_name, True, vars(value), dict(vars(value))), value.__module__)
        self._seen.update(sys.modules)

    def _record(self, owner: _Owner, module: str) -> None:
        found = self._often if _OFTEN.fullmatch(module) else self._seldom
        found.add(owner)
        if found is self._often:
            self._functions.record(owner.known)
        for name, value in owner.known.items():
            full_name = f"{owner.name}.{name}"
            is_own = name.startswith("__") or full_name in _OWN_TABLES or _HARNESS.match(module)
            if issubclass(type(value), (dict, list, set)) and not is_own and id(value) not in self._tables:
                self._tables.add(id(value))
                found.add(_Table(full_name, value))

    def begin(self) -> None:
        """Begin the turns where this process does: looking at an attribute copies its page."""
        self._turn = os.getpid() % _TURNS
        self._tests = 0

    def adopt(self) -> None:
        """Take the present attributes of those that are compared after every test for what was first seen, since a
        rank's preparation, or a test's set-up, changes some."""
        for watched in (self._often, self._seldom) if versions_are_known() else (self._often,):
            for _ in watched.replaced():
                pass

    def forget(self) -> None:
        """Let go of all that is recorded; nothing can be asked afterwards."""
        vars(self).clear()

    @property
    def has_imported(self) -> bool:
        """Whether modules of libraries have been imported since the last call of `record_new`."""
        modules = sys.modules.keys() - self._seen if self._modules.is_changed(sys.modules) else ()
        return any(is_of_library(sys.modules[name]) for name in modules)

    def count(self) -> int:
        """Return how many modules and classes are recorded."""
        return len(self._often) + len(self._seldom)

    def replaced(self) -> Iterator[str]:
        """After a test, yield a sentence for each attribute that has been replaced and is compared in this turn, once.
        It says so where an earlier test may have done it."""
        yield from self._often.replaced()
        turn = slice(self._turn, None, _TURNS)
        doubt = _or_before(min(self._tests, _TURNS - 1))  # since those of this turn were compared
        if versions_are_known():
            yield from self._seldom.replaced()
        else:
            for sentence in self._seldom.replaced(turn):
                yield f"{sentence}{doubt}"
        for sentence in self._functions.replaced(turn):
            yield f"{sentence}{doubt}"
        self._turn = (self._turn + 1) % _TURNS
        self._tests += 1


def _or_before(tests: int) -> str:
    if not tests:
        return ""
    return ", by this test or " + ("the one before it" if tests == 1 else f"one of the {tests} before it")


def _is_class(value: Any) -> bool:
    """Return whether a value is a class that is looked into. `isinstance` would ask torch's deprecated names for their
    class, and they would warn."""
    kind = type(value)
    if not issubclass(kind, type) or kind is _LEGACY_TENSOR_TYPE or not value.__flags__ & _HEAP_TYPE:
        return False
    module = value.__module__
    return isinstance(module, str) and module.partition(".")[0] in _WITH_CLASSES
