"""`python -m torch_testing_shim --pytest [ARGUMENT ...]`: pytest, with PyTorch's harness served from this package.

The module itself is a plugin of pytest, which imports it before any `conftest.py`, in pytest-xdist's workers too, and
so the redirect is in place by then. Its options are those of `run_test.py` for which pytest has none. Where
run_test.py has started the process, each test has its entry in the journal. PYTEST_DONT_REWRITE: a warm interpreter has
imported this module before pytest wants to.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from torch_testing_shim._engine.devices import DeviceError, checked_device
from torch_testing_shim._engine.job import LaunchError, check_scratch_folder
from torch_testing_shim._program.interrupts import Interrupts, end_what_is_left
from torch_testing_shim._program.log import TestLog
from torch_testing_shim._program.options import UsageError, take_expectations, take_journal
from torch_testing_shim._program.pytest_journal import PytestJournal, ReportDetails, name_of_node
from torch_testing_shim._program.selection import tests_to_skip
from torch_testing_shim._program.upstream_file import serve_under_pytest
from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim._shared.journal import Journal
from torch_testing_shim._shared.keyword_expression import KeywordError, read_keyword
from torch_testing_shim._shared.last_collection import settle_last_collection
from torch_testing_shim._shared.settings import SettingsError, read_settings
from torch_testing_shim._shared.stack_request import answer_stack_requests
from torch_testing_shim._shared.standard_streams import open_standard_streams
from torch_testing_shim._skips.lists import TestListError, check_test_lists

PLUGINS = ("torch_testing_shim._program.upstream_pytest", "torch_testing_shim.pytest_plugin")
_USAGE_ERRORS = (UsageError, SettingsError, TestListError, DeviceError, LaunchError)


def run_pytest(arguments: Sequence[str]) -> int:
    """Run pytest in this process.

    Args:
        arguments: pytest's.

    Returns:
        pytest's exit status; 2 where the environment is wrong.
    """
    open_standard_streams()
    answer_stack_requests()
    try:
        settings = read_settings()
        check_test_lists(settings)
        device = checked_device(settings).type
        check_scratch_folder()
        skip_list, journal = take_expectations(settings), take_journal(settings)
    except _USAGE_ERRORS as error:
        print(error, file=sys.stderr)
        return ExitStatus.USAGE
    plugins = [RunJournal(journal, device, skip_list)] if journal is not None else []
    gc.freeze()  # torch: pytest collects again and again at its end
    with Interrupts():
        try:
            status = int(pytest.main([*(f"-p{name}" for name in PLUGINS), *arguments], plugins=plugins))
        except KeyboardInterrupt:  # before pytest takes it
            status = int(pytest.ExitCode.INTERRUPTED)
        if status == pytest.ExitCode.INTERRUPTED:
            end_what_is_left()
    sys.stdout.flush()
    settle_last_collection()
    return status


class RunJournal(PytestJournal):
    """The journal of a whole run: its plan, its tests, its end.

    Args:
        journal: where it is written.
        device: the device type that the tests run on.
        skip_list: the file that names the tests to skip, or None.
    """

    def __init__(self, journal: Journal, device: str, skip_list: Any) -> None:
        log = TestLog(journal)
        super().__init__(log)
        self._plan = log
        self._device = device
        self._skip_list = skip_list
        self._uncollected: list[str] = []

    def pytest_collectreport(self, report: Any) -> None:
        if not report.passed:
            self._uncollected.append(name_of_node(report.nodeid))
        super().pytest_collectreport(report)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Mark the tests on the skip list."""
        names = {item: name_of_node(item.nodeid) for item in items}
        reasons = tests_to_skip(self._skip_list, list(names.values()), self._device)
        for item, name in names.items():
            if name in reasons:
                item.add_marker(pytest.mark.skip(reason=reasons[name]))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: Any) -> None:
        names = [*self._uncollected, *(name_of_node(item.nodeid) for item in session.items)]
        if names:
            self._plan.plan(names, self._device)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """pytest-xdist's hook: each worker has collected all tests."""
        if not self._plan.planned:
            self._plan.plan([*self._uncollected, *map(name_of_node, ids)], self._device)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if self.interrupt is None and exitstatus != pytest.ExitCode.USAGE_ERROR:  # after which nothing has begun
            self._plan.finish()


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
    """Leave out tests as the options say."""
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
