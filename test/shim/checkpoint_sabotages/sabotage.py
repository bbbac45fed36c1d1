"""A sabotage of torch, and the test cases that run a test under each.

The test file stays as it is: a sabotaged test is the original method, called where torch's behaviour is changed. All
sabotages of all files run in one process with its ranks, so each costs as much as its test does.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import pkgutil
import sys
import time
import unittest
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis

import checkpoint_sabotages

#: The folder of the files whose tests are sabotaged.
TEST_FILES = Path(__file__).resolve().parents[2] / "distributed" / "checkpoint"

#: The modules of this package that are no table.
_OTHERS = ("forked_programs", "sabotage")

#: The text of an expected failure that has not failed.
MENDED = "marked as an expected failure"

#: The name of the test that each file runs without any sabotage: it shows that being called here does no harm.
UNHARMED = "unharmed"


@dataclass(frozen=True)
class Sabotage:
    """One way to break torch.

    The sabotage of an expected failure mends torch, or breaks it where it is mended: it must not fail then.
    """

    name: str  # what is broken, in words joined by underscores
    test: str  # the test that must notice, "Class.test_method", with the parameters in the name where it has some
    #: Makes the context in which torch is broken. The test runs in it, in each rank where it has ranks.
    strike: Callable[[], AbstractContextManager[Any]]
    reason: str  # regular expression, found in what the test says of its failure


def replaced(owner: Any, name: str, by: Callable[..., Any]) -> AbstractContextManager[Any]:
    """Make the context in which calls of `owner.name` call `by`, which gets the original before the arguments."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        return by(original, *args, **kwargs)

    return mock.patch.object(owner, name, call)


@contextlib.contextmanager
def staged_as_it_is(stager: type, writer: type, name: str) -> Iterator[None]:
    """An asynchronous save gets its state's own tensors, and writes them once the test has set `name` to zero: a time
    to sleep would be too short on a loaded machine."""
    held: dict[str, Any] = {}

    def stage(original: Any, stager: Any, state: Any, **_: Any) -> Any:
        held.update(state)
        return state

    def write_late(original: Any, *args: Any, **kwargs: Any) -> Any:
        while name in held and held[name].any():
            time.sleep(0.01)
        return original(*args, **kwargs)

    with replaced(stager, "stage", stage), replaced(writer, "write_data", write_late):
        yield


def all_tables() -> dict[str, list[Sabotage]]:
    """Return the sabotages of each test file, by the file's name without "test_"."""
    names = sorted(module.name for module in pkgutil.iter_modules(checkpoint_sabotages.__path__))
    modules = {name: importlib.import_module(f"checkpoint_sabotages.{name}") for name in names if name not in _OTHERS}
    return {name: module.SABOTAGES for name, module in modules.items()}


def case_name(table: str, test: str) -> str:
    """Return the name of the class that runs the sabotages of `test`, "Class.test_method" of the file of `table`."""
    return f"{table}_{test.partition('.')[0]}"


def tests_without_sabotage() -> list[str]:
    """Return the tests of all files that no sabotage makes fail, as "table: Class.test_method". One of a test's
    parameters stands for all."""
    missing = []
    for table, sabotages in all_tables().items():
        originals = importlib.import_module(f"test_{table}")
        struck = {_body(originals, sabotage.test) for sabotage in sabotages}
        cases = [
            case
            for case in vars(originals).values()
            if isinstance(case, type) and case.__module__ == originals.__name__
        ]
        for case in cases:
            if issubclass(case, unittest.TestCase):
                names = [f"{case.__name__}.{name}" for name in unittest.TestLoader().getTestCaseNames(case)]
                missing += [f"{table}: {name}" for name in names if _body(originals, name) not in struck]
    return missing


def _body(module: Any, test: str) -> object:
    """Return the code of a test that its parameters share."""
    class_name, _, method = test.partition(".")
    return inspect.unwrap(getattr(getattr(module, class_name), method)).__code__


def sabotaged_cases(module: str) -> dict[str, type[unittest.TestCase]]:
    """Make the classes whose tests are the sabotaged ones, by their names.

    Args:
        module: the name of the module that the classes are put into.
    """
    sys.path.insert(0, str(TEST_FILES))
    # the first example that fails is enough: hypothesis would look for the smallest
    usual = hypothesis.settings.default
    hypothesis.settings.register_profile("sabotaged", usual, phases=[hypothesis.Phase.generate])
    hypothesis.settings.load_profile("sabotaged")
    cases: dict[str, type[unittest.TestCase]] = {}
    for table, sabotages in all_tables().items():
        originals = importlib.import_module(f"test_{table}")
        for sabotage in _with_unharmed(sabotages):
            name = case_name(table, sabotage.test)
            class_name, _, method = sabotage.test.partition(".")
            original = getattr(originals, class_name)
            if name not in cases:
                cases[name] = type(name, (original,), {"__module__": module, **_without_tests(original)})
            setattr(cases[name], f"test_{sabotage.name}", _struck(getattr(original, method), sabotage))
    return cases


def _with_unharmed(sabotages: list[Sabotage]) -> Iterator[Sabotage]:
    yield Sabotage(UNHARMED, sabotages[0].test, contextlib.nullcontext, "")
    yield from sabotages


def _without_tests(original: type[unittest.TestCase]) -> dict[str, None]:
    """Return attributes that hide the tests of a class from its subclass."""
    return dict.fromkeys(unittest.TestLoader().getTestCaseNames(original))


def _struck(test: Callable[..., object], sabotage: Sabotage) -> Callable[..., object]:
    @functools.wraps(test)
    def struck(self: unittest.TestCase) -> None:
        with sabotage.strike():
            test(self)

    return struck
