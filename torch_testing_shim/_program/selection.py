"""The tests of a module, their names, and the choice among them by a command line and a skip list."""

from __future__ import annotations

import difflib
import inspect
import os
import sys
import types
import unittest
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from torch_testing_shim._program.options import UsageError
from torch_testing_shim._shared.keyword_expression import KeywordError, read_keyword

_SUGGESTIONS = 3


def class_name(test: unittest.TestCase) -> str:
    """The name of a test's class: "Class", or "Outer.Inner" for a nested one."""
    return type(test).__qualname__.rpartition("<locals>.")[2]


def test_name(test: unittest.TestCase) -> str:
    """A test's name on command lines and in the journal: "Class.method". Doctests and functions are called
    "DocTestCase.name" and "FunctionTestCase.name"."""
    method, own_id = test._testMethodName, test.id()
    if method == "runTest" and not own_id.endswith(f".{method}"):
        return f"{class_name(test)}.{own_id.removeprefix('__main__.')}"
    return f"{class_name(test)}.{method}"


test_name.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever pytest makes of its name


def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite, pattern: str | None) -> unittest.TestSuite:
    """unittest's hook that a test file gets by importing this name (upstream: `load_tests`, torch 2.13).

    Returns:
        `tests`, without empty suites.

    Raises:
        ValueError: the file is being run and one of the test classes is defined in another file.
    """
    suites = [suite for suite in tests if isinstance(suite, unittest.TestCase) or suite.countTestCases()]
    script = os.path.realpath(sys.argv[0])
    if script.endswith(".py"):
        for suite in suites:
            _check_origin(suite, script)
    return unittest.TestSuite(suites)


def _check_origin(suite: unittest.TestSuite | unittest.TestCase, script: str) -> None:
    if not isinstance(suite, unittest.TestCase):
        for item in suite:
            _check_origin(item, script)
        return
    origin = os.path.realpath(inspect.getfile(type(suite)))
    if origin != script:
        raise ValueError(
            f"{type(suite).__qualname__} would run here but is defined in {origin}; import its module instead"
        )


def load(module: types.ModuleType, *, omit_skipped: bool = False) -> list[unittest.TestCase]:
    """The tests of a module, in unittest's order, each a new instance.

    Args:
        omit_skipped: leave out those that were marked as skipped when their class was made (PYTORCH_TEST_OMIT_SKIPPED).
    """
    tests = _flat(unittest.TestLoader().loadTestsFromModule(module))
    return [test for test in tests if not (omit_skipped and _is_marked_skipped(test))]


def _is_marked_skipped(test: unittest.TestCase) -> bool:
    """True where unittest's decorators have marked a test's method; marks of its class do not count."""
    method = getattr(type(test), test._testMethodName, None)
    return bool(getattr(method, "__unittest_skip__", False))


def select(
    tests: Sequence[unittest.TestCase], names: Sequence[str], patterns: Sequence[str], excluded: Sequence[str] = ()
) -> list[unittest.TestCase]:
    """Those of `tests` that are named (all, where no names are given), match one of the patterns (if there are any) and
    are not excluded.

    Args:
        names: "Class" or "Class.method", also with the module in front.
        patterns: `-k`'s, which see "module.Class.method"; see `keyword_expression`.
        excluded: names, as above.
    """
    wanted = [_without_module(name, tests) for name in names]
    unwanted = [_without_module(name, tests) for name in excluded]
    _check([*wanted, *unwanted], tests)
    try:
        matchers = [read_keyword(pattern) for pattern in patterns]
    except KeywordError as error:
        raise UsageError(str(error)) from None
    is_wanted, is_unwanted = _naming(wanted, tests), _naming(unwanted, tests)
    named = [test for test in tests if not wanted or is_wanted(test)]
    return [test for test in named if _matches(test, matchers) and not is_unwanted(test)]


def tests_to_skip(path: Path | None, names: Sequence[str], device: str) -> dict[str, str]:
    """The tests among `names` to skip on a device type, each with its reason.

    Args:
        path: the skip list (see `_shared.expectations`); None where there is none.
    """
    if path is None:
        return {}
    from torch_testing_shim._shared.expectations import reasons_to_skip  # here: few runs have a skip list

    try:
        return reasons_to_skip(path, names, device)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"cannot read which tests to skip from {path}: {error}") from None


def _flat(suite: unittest.TestSuite | unittest.TestCase) -> Iterator[unittest.TestCase]:
    if isinstance(suite, unittest.TestCase):
        yield suite
        return
    for item in suite:
        yield from _flat(item)


def _without_module(name: str, tests: Sequence[unittest.TestCase]) -> str:
    modules = {"__main__", *(type(test).__module__ for test in tests)}
    return next((name[len(module) + 1 :] for module in modules if name.startswith(f"{module}.")), name)


def _naming(wanted: Sequence[str], tests: Sequence[unittest.TestCase]) -> Callable[[unittest.TestCase], bool]:
    """A function that says whether a test is named, itself or by its class. A test's name names no other test, though
    another's may begin with it and a dot."""
    alone = frozenset(wanted)
    classes = tuple(f"{name}." for name in alone.difference(map(test_name, tests)))
    return lambda test: test_name(test) in alone or test_name(test).startswith(classes)


def _matches(test: unittest.TestCase, matchers: Sequence[Callable[[str], bool]]) -> bool:
    full_name = f"{type(test).__module__}.{test_name(test)}"
    return not matchers or any(matches(full_name) for matches in matchers)


def _check(wanted: Sequence[str], tests: Sequence[unittest.TestCase]) -> None:
    known = dict.fromkeys([*(class_name(test) for test in tests), *(test_name(test) for test in tests)])
    problems = []
    for name in wanted:
        if name not in known and not any(one.startswith(f"{name}.") for one in known):
            nearest = difflib.get_close_matches(name, known, _SUGGESTIONS)
            hint = f"; did you mean {', '.join(nearest)}?" if nearest else ""
            problems.append(f"there is no test {name!r}{hint}")
    if problems:
        raise UsageError("\n".join(problems))
