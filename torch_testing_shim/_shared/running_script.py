"""The test file that this process runs: how it is started, and `load_tests`, by which it runs its own tests and none
that it has imported by mistake."""

from __future__ import annotations

import inspect
import os
import sys
import unittest

from torch_testing_shim._shared.interpreter_flags import interpreter_flags
from torch_testing_shim._shared.settings import Settings

__all__ = ["interpreter_arguments", "load_tests", "pytest_arguments"]


def interpreter_arguments(path: str, settings: Settings) -> list[str]:
    """What stands between `python` and the path of a test file: the interpreter's own options, and more where the file
    is PyTorch's and runs as it is."""
    flags = list(interpreter_flags())
    return flags if settings.upstream_file != path else [*flags, *_harness_arguments(settings)]


def pytest_arguments(settings: Settings) -> list[str]:
    """What stands between `python` and pytest's arguments, where pytest runs the tests."""
    redirect = sys.modules.get("torch_testing_shim._upstream.redirect")  # not imported: it imports torch
    is_upstreams = redirect is not None and redirect.is_installed()
    pytest = [*_harness_arguments(settings), "--pytest"] if is_upstreams else ["-m", "pytest"]
    return [*interpreter_flags(), *pytest]


def _harness_arguments(settings: Settings) -> list[str]:
    mapped = ["--map-device", str(settings.device_map)] if settings.device_map else []
    return ["-m", "torch_testing_shim", *mapped]


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
