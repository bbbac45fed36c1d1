"""Finds, after a test in a reused rank, what it has changed that `rank_reset` does not put back.

The fingerprint is taken when a rank starts, and compared with the process after each test:

* functions, classes, modules and flags of torch's and other libraries' modules, and of torch's classes;
* everything in modules that are of no library, the tests' own and their helpers', down to what containers hold;
* operators and kernels that torch.library has defined, and whether classes were registered with abstract base classes;
* patches of `unittest.mock` that are active, threads, open files and folders, and memory of an accelerator.
"""

from __future__ import annotations

import abc
import gc
import os
import re
import sys
import threading
import unittest.mock
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from types import MappingProxyType, SimpleNamespace
from typing import Any

import torch

from torch_testing_shim._engine.driver import initialized_accelerator
from torch_testing_shim._isolation.contents import Summaries
from torch_testing_shim._isolation.dict_versions import version_of
from torch_testing_shim._isolation.leaks import is_torchs_thread
from torch_testing_shim._isolation.library_descriptors import descriptor_targets
from torch_testing_shim._isolation.module_origins import is_of_library
from torch_testing_shim._isolation.replaced_attributes import LibraryAttributes

__unittest = True  # unittest and pytest leave the frames of this module out of a report


#: The part of a path that is a test's scratch folder.
_SCRATCH = re.compile(r".*/tts-[^/]+/")
#: Paths of devices and of the like. Segments of shared memory count, which have a name for other processes.
_OF_THE_SYSTEM = re.compile(r"/proc/|/dev/(?!shm/)|/dev/shm/.* \(deleted\)\Z")
_NONE: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True)
class Fingerprint:
    """The state of a process before its first test."""

    library: LibraryAttributes
    tests: TestAttributes
    patches: tuple[Any, ...]
    threads: frozenset[threading.Thread]
    files: Counter[str]
    operators: set[str]
    registrations: list[object]
    memory: int


class TestAttributes:
    """The attributes of the tests' modules and classes, and the values of their fixtures, with what they hold."""

    def __init__(self, modules: Iterable[Any], classes: Iterable[type], fixtures: Mapping[str, object]) -> None:
        self._summaries = Summaries()
        self._owners: dict[str, Any] = {"fixtures": SimpleNamespace(**fixtures)}
        for module in modules:
            if self._owners.setdefault(module.__name__, module) is not module:
                continue  # `__mp_main__`, of the same name: in forks of a warm interpreter, another module
            for value in list(vars(module).values()):
                if issubclass(type(value), type) and value.__module__ == module.__name__:
                    self._add_class(value)
        for found in classes:
            for each in found.__mro__:
                if not is_of_library(sys.modules.get(each.__module__)):
                    self._add_class(each)
        self._versions = [version_of(vars(owner)) for owner in self._owners.values()]
        self._known = self._now()

    def _add_class(self, found: type) -> None:
        self._owners[f"{found.__module__}.{found.__qualname__}"] = found

    def _now(self) -> dict[str, dict[str, Any]]:
        self._own_state = self._state_of_owners()
        self._summaries.begin_round()
        return {name: self._summary(owner) for name, owner in self._owners.items()}

    def _state_of_owners(self) -> list[object]:
        """Return what stays the same as long as each owner has the same attributes, and the same bases."""
        bases = [id(getattr(owner, "__bases__", None)) for owner in self._owners.values()]
        return [*bases, *(version.value for version in self._versions)]

    def _summary(self, owner: Any) -> dict[str, Any]:
        return self._summaries.of_attributes({**vars(owner), "__bases__": getattr(owner, "__bases__", ())})

    def changed(self) -> Iterator[str]:
        """Yield a sentence for each attribute that has changed."""
        if self._state_of_owners() == self._own_state and self._summaries.are_as_found():
            return
        now = self._now()
        if now == self._known:
            return
        for name, known in self._known.items():
            for attribute in sorted(known.keys() | now[name].keys()):
                if attribute not in known:
                    yield f"{name}.{attribute} was added"
                elif attribute not in now[name]:
                    yield f"{name}.{attribute} was removed"
                elif known[attribute] != now[name][attribute]:
                    yield f"{name}.{attribute} was changed"
        self._known = now


def take_fingerprint(classes: Iterable[type], fixtures: Mapping[str, object] = _NONE) -> Fingerprint:
    """Return the fingerprint of this process.

    Args:
        classes: the test classes; classes of their modules and of modules that these import are found by themselves.
        fixtures: values that tests share, by name.
    """
    # Imported here: the attributes are to be recorded in this process, or in the zygote that it was forked from.
    from torch_testing_shim._isolation.recorded_libraries import LIBRARIES

    modules = LIBRARIES.record_new()
    LIBRARIES.begin()
    LIBRARIES.adopt()
    found = Fingerprint(LIBRARIES, TestAttributes(modules, classes, fixtures), **_passing_state())
    gc.freeze()  # copies of all dictionaries: a collection would take ten times as long
    return found


def renewed(before: Fingerprint) -> Fingerprint:
    """Return a fingerprint with what is there now, except that attributes of libraries which are compared in turns stay
    as they were recorded."""
    before.library.record_new()
    before.library.adopt()
    for _ in before.tests.changed():
        pass
    return replace(before, **_passing_state())


def differences(before: Fingerprint) -> tuple[str, ...]:
    """Return a sentence for each thing that differs from `before`, each once. Modules that have been imported since are
    recorded in it, so that later changes of these count too."""
    found = tuple(_differences(before))
    known = before.library.count()
    before.library.record_new()
    if before.library.count() > known:
        gc.freeze()
    return found


def _differences(before: Fingerprint) -> Iterator[str]:
    yield from before.library.replaced()
    yield from before.tests.changed()
    for patch in _active_patches():
        if patch not in before.patches:
            yield f"a patch of {getattr(patch, 'attribute', None) or 'a dictionary'} is active"
    for thread in threading.enumerate():
        if thread not in before.threads and not _is_of_library(thread):
            yield f"thread {thread.name!r} is running"
    new = _operators_beside(before.operators)
    if not before.library.has_imported:  # which define their own
        for name in sorted(new):
            yield f"operator {name} was defined"
        if abc.get_cache_token() not in before.registrations:
            yield "a class was registered with an abstract base class"
    before.operators.update(new)
    before.registrations[:] = [abc.get_cache_token()]
    for path in _open_files() - before.files:
        yield f"{path} is open"
    if (memory := _allocated_memory()) > before.memory:
        yield f"{memory - before.memory} bytes of the accelerator's memory are allocated"


def _passing_state() -> dict[str, Any]:
    """Return the fields that hold what comes and go."""
    return {
        "patches": tuple(_active_patches()),
        "threads": frozenset(threading.enumerate()),
        "files": _open_files(),
        "operators": _operators_beside(frozenset()),
        "registrations": [abc.get_cache_token()],
        "memory": _allocated_memory(),
    }


def _is_of_library(thread: threading.Thread) -> bool:
    sharer = sys.modules.get("multiprocessing.resource_sharer")
    target = getattr(thread, "_target", None)
    return is_torchs_thread(thread) or (sharer is not None and getattr(target, "__module__", None) == sharer.__name__)


def _active_patches() -> list[Any]:
    return list(unittest.mock._patch._active_patches)  # type: ignore[attr-defined]


def _open_files() -> Counter[str]:
    """Return the paths of open files and folders, without those of the harness, which lie in a scratch folder
    itself. Other paths there are the same from test to test here, although each test has a folder of its own."""
    paths = (path for number, path in descriptor_targets(os.getpid()) if number > 2 and path.startswith("/"))
    short = (_SCRATCH.sub("", path) for path in paths if not _OF_THE_SYSTEM.match(path))
    return Counter(path for path in short if "/" in path)


def _operators_beside(known: Set[str]) -> set[str]:
    """Return the names of operators that torch.library has defined, and of the kernels that it has given to some,
    without those that are known."""
    return {name for books in ("_defs", "_impls") for name in getattr(torch.library, books, frozenset()) - known}


def _allocated_memory() -> int:
    accelerator = initialized_accelerator()
    if accelerator is None:
        return 0
    allocated = getattr(torch.get_device_module(accelerator), "memory_allocated", None)
    return 0 if allocated is None else int(allocated())
