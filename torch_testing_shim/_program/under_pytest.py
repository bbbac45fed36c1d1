"""PyTorch's test files under pytest: the plugin of `python -m torch_testing_shim --pytest`.

pytest imports it before any `conftest.py`, in pytest-xdist's workers too, and so the redirect is in place by then. Its
options are those of `run_test.py` that pytest has in no such form. PYTEST_DONT_REWRITE: a warm interpreter has imported
this module before pytest wants to.
"""

from __future__ import annotations

from typing import Any

import pytest

from torch_testing_shim._program.pytest_journal import ReportDetails, name_of_node
from torch_testing_shim._program.upstream_file import serve_under_pytest
from torch_testing_shim._shared.keyword_expression import KeywordError, read_keyword
from torch_testing_shim._shared.settings import read_settings

#: Tests are matched with the module's name in front, as where a file is run as a script.
_MODULE = "__main__"


def pytest_addoption(parser: Any) -> None:
    """pytest calls it first of all, as it does in its workers."""
    serve_under_pytest()
    group = parser.getgroup("torch_testing_shim")
    add = group.addoption
    add("--exclude-test", action="append", default=[], metavar="Class[.method]", help="leave out (repeatable)")
    add("--matching", action="append", default=[], metavar="PATTERN", help="run only these, as run_test.py's -k")


def pytest_report_header() -> list[str]:
    devices = read_settings().device_map
    return [f"torch_testing_shim: {devices.mark}"] if devices is not None else []


def pytest_configure(config: Any) -> None:
    config.pluginmanager.register(ReportDetails())


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leaves out tests as the options say."""
    try:
        matchers = [read_keyword(pattern) for pattern in config.getoption("matching")]
    except KeywordError as error:
        raise pytest.UsageError(str(error)) from None
    excluded = config.getoption("exclude_test")
    kept: list[Any] = []
    left_out: list[Any] = []
    for item in items:
        name = name_of_node(item.nodeid)
        is_matched = not matchers or any(matches(f"{_MODULE}.{name}") for matches in matchers)
        is_excluded = any(name == one or name.startswith((f"{one}.", f"{one}[")) for one in excluded)
        (kept if is_matched and not is_excluded else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
