"""Grafts names of PyTorch's harness that this package does not define: the installed torch's own, built on ours.

    from torch_testing_shim.common_fsdp import NestedWrappedModule
        face has no such name -> served(...)("NestedWrappedModule")
            statements of torch/testing/_internal/common_fsdp.py that bind or change it, those that they use, and so on,
            without those that bind names which the face has
        -> run in the face's own namespace, each once, in their order

So a name costs only what it needs, and a module that nobody asks for costs nothing. Functions of torch's and of the
face share their globals, so that both see a value that a test has assigned. A module's other actions (it sets flags of
torch, reads the command line) are never carried out for a face.

A module that this package has no face for is run as a whole: see `modules`.
"""

from __future__ import annotations

import importlib
import inspect
import marshal
import sys
import threading
import unittest
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType, ModuleType
from typing import Any

from torch_testing_shim._upstream.compiled import module_statements
from torch_testing_shim._upstream.driver_questions import asking
from torch_testing_shim._upstream.missing import MissingName, importing_file, is_prepared_for_absence
from torch_testing_shim._upstream.modules import home_of, source_file
from torch_testing_shim._upstream.rewriting import SHIM, UPSTREAM
from torch_testing_shim._upstream.statements import Statement

#: How long a thread waits for another's graft, in seconds. Two threads that import and graft crosswise would deadlock;
#: after this time the second goes on, and at worst runs a definition again.
LOCK_SECONDS = 20.0
_LOCK = threading.RLock()
_NOTHING: Mapping[str, Callable[[], Any]] = MappingProxyType({})
#: Modules of this package -> names that they answer when they are asked.
_LAZY: dict[str, Mapping[str, Callable[[], Any]]] = {}
_GRAFTS: dict[str, _Graft] = {}
_FILES_MAY_LACK_NAMES: list[bool] = []
#: Names that most ported files use, and that need no library: importing pytest would cost them half a second.
_PARAMETRIZATION = frozenset({"instantiate_parametrized_tests", "parametrize", "reparametrize", "subtest"})


class GraftError(ImportError):
    """The installed torch is not as the graft expects; the message is one sentence."""


def served(
    module: str, lazy: Mapping[str, Callable[[], Any]] = _NOTHING, *, is_whole: bool = False
) -> Callable[[str], Any]:
    """Return the `__getattr__` of a face: it answers names that are computed when asked, and grafts torch's others.

    Args:
        module: the face's `__name__`.
        lazy: names that are ours besides those that the face binds -> a function that returns the value, each time.
        is_whole: torch's module has been run as a whole. What it binds and lacks now, a test has deleted
            (`RpcTest.test_function_not_on_callee` does).
    """
    _LAZY[module] = lazy
    face = sys.modules.get(module)
    if type(face) is ModuleType and source_file(_below(module)) is not None:
        face.__class__ = _Face

    def __getattr__(name: str) -> Any:
        if name in lazy:
            return lazy[name]()
        if name.startswith("__"):  # Python and its libraries ask these of any module
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        if not is_whole:
            return grafted(module, name)
        if name in bound_names(module):
            raise AttributeError(f"module {module!r} has no attribute {name!r} now")
        return _found_elsewhere(module, name)

    return __getattr__


class _Face(ModuleType):
    """A module whose `from ... import *` takes torch's names, too."""

    @property
    def __all__(self) -> list[str]:
        names = ours_in(self.__name__) | bound_names(self.__name__)
        return sorted(name for name in names if not name.startswith("_") and _is_there(self, name))


def _is_there(face: ModuleType, name: str) -> bool:
    """Whether the name has a value: torch's module may bind it only in some cases, or need a missing library."""
    try:
        return hasattr(face, name)
    except ImportError:
        return False


def stand_in_for_missing() -> None:
    """Make names that torch lacks too a `MissingName` from now on, so that test files for other versions load."""
    _FILES_MAY_LACK_NAMES.append(True)


def assigned(module: str, name: str) -> Any:
    """Return the value of a face's name. For a name that the face answers when asked, it is the value that a test has
    assigned, or None where no test has."""
    value = vars(sys.modules[module]).get(name) if module in sys.modules else None
    graft = _GRAFTS.get(module)
    is_answer = graft is not None and name in graft.answered and graft.answered[name] is value
    return None if is_answer else value


def taken_names(module: str) -> set[str]:
    """Return the names that a face has taken over from torch's module so far."""
    return set(_GRAFTS[module].taken) if module in _GRAFTS else set()


def ours_in(module: str) -> set[str]:
    """Return the names that are ours in a face: those that it binds, and those that it answers when asked."""
    face = importlib.import_module(module)
    return {*vars(face), *_LAZY.get(module, ())} - taken_names(module)


def bound_names(module: str) -> set[str]:
    """Return the names that the installed torch's module binds at its top level, given the module that serves it."""
    below = _below(module)
    source = source_file(below)
    return {name for each in module_statements(below, source) for name in each.binds} if source is not None else set()


@contextmanager
def locked() -> Iterator[None]:
    """Let one thread at a time change faces."""
    held = _LOCK.acquire(timeout=LOCK_SECONDS)
    try:
        yield
    finally:
        if held:
            _LOCK.release()


def graft_of(module: str) -> _Graft:
    """Return the graft of a face. Use it inside `locked`."""
    if module not in _GRAFTS:
        _GRAFTS[module] = _Graft(module)
    return _GRAFTS[module]


def bring_along(module: str) -> None:
    """Import pytest for the module that imports it upstream where it is installed: others look for it in
    `sys.modules`."""
    if module == f"{SHIM}.common_utils":
        with suppress(ImportError):
            importlib.import_module("pytest")


def _below(module: str) -> str:
    return module[len(SHIM) :].lstrip(".")


def grafted(module: str, name: str) -> Any:
    """Return a name of torch's module for the face `module`.

    Raises:
        AttributeError: torch has no such name.
    """
    with locked():
        if graft_of(module).take(name):
            if name not in _PARAMETRIZATION:
                bring_along(module)
            return vars(sys.modules[module])[name]
    return _found_elsewhere(module, name)


def _found_elsewhere(module: str, name: str) -> Any:
    """Return a submodule, a name that torch has moved elsewhere, or a stand-in."""
    below = _below(module)
    if source_file(f"{below}.{name}".lstrip(".")) is not None:
        return importlib.import_module(f"{module}.{name}")
    home = home_of(name, below)
    if home is not None:
        return getattr(importlib.import_module(f"{SHIM}.{home}"), name)
    if _FILES_MAY_LACK_NAMES and not is_prepared_for_absence():
        return MissingName(f"{UPSTREAM}.{below}.{name}", importing_file())
    raise AttributeError(f"module {module!r} has no attribute {name!r}, and neither has torch's module of that name")


class _Graft:
    """The graft of one face: the names that it has taken over from torch's module so far."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._lazy = _LAZY.get(module, _NOTHING)
        below = _below(module)
        source = source_file(below)
        self._statements = module_statements(below, source) if source is not None else []
        if source is not None:  # `inspect` would search all modules for torch's file, for each frame of each stack
            inspect.modulesbyfile[str(source)] = module
        self._done: set[int] = set()
        self.taken: dict[str, Any] = {}
        self.answered: dict[str, Any] = {}  # the face's answers, which torch's definitions look up
        self._aside: dict[str, Any] = {}
        self._by_name: dict[str, list[int]] = {}
        for number, statement in enumerate(self._statements):
            for name in (*statement.binds, *statement.changes):
                self._by_name.setdefault(name, []).append(number)

    def take(self, name: str) -> bool:
        """Give the face a name of torch's, with all that it needs. Return False where torch does not have it, or
        where its definition is under way: a circular import, as it is upstream."""
        names = vars(sys.modules[self._module])
        for number in sorted(self._needed(name, names)):
            if number not in self._done:
                self._done.add(number)
                self._run(self._statements[number], names)
        if name not in names and name in self.taken:  # `mock.patch` deletes a name that it did not find in the module
            names[name] = self.taken[name]
        return name in names

    def made_aside(self, class_name: str) -> Mapping[str, Any]:
        """Return the attributes of torch's class of this name, which the face defines itself. Its functions use the
        names of the face."""
        if class_name not in self._aside:
            statement = self._statements[self._by_name[class_name][-1]]
            for used in statement.uses:
                self.take(used)
            exec(marshal.loads(statement.code), vars(sys.modules[self._module]), self._aside)
        attributes: Mapping[str, Any] = vars(self._aside[class_name])
        return attributes

    def _needed(self, name: str, names: dict[str, Any]) -> set[int]:
        """Return the numbers of the statements for a name. Names that are ours get their value on the way."""
        needed: set[int] = set()
        todo = [name]
        known = set(todo)
        while todo:
            wanted = todo.pop()
            if wanted in self._lazy:
                self._answer(wanted, names)
            if wanted in names:
                continue
            for number in self._by_name.get(wanted, ()):
                if number not in needed and number not in self._done:
                    needed.add(number)
                    new = {*self._statements[number].uses, *self._statements[number].binds} - known
                    known |= new
                    todo += new
        return needed

    def _answer(self, name: str, names: dict[str, Any]) -> None:
        if name not in names:
            names[name] = self.answered[name] = self._lazy[name]()

    def _run(self, statement: Statement, names: dict[str, Any]) -> None:
        ours = {name: names[name] for name in statement.binds if name in names and name not in self.taken}
        try:
            with asking(), _without_command_line():
                exec(marshal.loads(statement.code), names)
        except ImportError as error:
            raise GraftError(f"{self._module}, as the installed torch has it: {error}") from error
        names.update(ours)
        self.taken.update({name: names[name] for name in set(statement.binds) - set(ours) if name in names})
        for name in statement.binds:
            _check_base(names.get(name), name, self._module)


@contextmanager
def _without_command_line() -> Iterator[None]:
    """Let torch's module find no arguments: the command line is this harness's. Torch 2.6's would answer `-h` where a
    file imports `*`, and end the process."""
    arguments = sys.argv
    sys.argv = arguments[:1]
    try:
        yield
    finally:
        sys.argv = arguments


def _check_base(value: object, name: str, module: str) -> None:
    """Check that a test case of torch's is built on ours.

    Raises:
        GraftError: it is not, since torch has split or renamed the class for which ours stands.
    """
    if not (isinstance(value, type) and value.__module__ == module and issubclass(value, unittest.TestCase)):
        return
    ours: type = importlib.import_module(f"{SHIM}.common_utils").TestCase
    if not issubclass(value, ours):
        bases = ", ".join(base.__name__ for base in value.__bases__)
        raise GraftError(f"{module}.{name} of the installed torch is built on {bases}, which is not this harness's")
