"""Tests run by pytest: `--use-pytest`, and plugins that turn its reports into entries of the log. Imports pytest.

ReportDetails   in the process that runs a test: puts into each report what only that process knows
PytestJournal   in the process that the user has started, which under pytest-xdist is another: reads the reports
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from torch_testing_shim._program.interrupts import without_the_handler
from torch_testing_shim._program.log import UNEXPECTED_SUCCESS, Event, RunningTest, TestLog, headline, interrupt_report
from torch_testing_shim._program.notes import notes_of, records_of
from torch_testing_shim._program.options import ProgramOptions
from torch_testing_shim._shared.journal import RankRecord, TestStatus
from torch_testing_shim._shared.pytest_report import show_report_alone

#: The attribute of a report that holds the details. pytest-xdist passes it on where it is made of plain values.
_DETAILS = "torch_testing_shim_details"
#: The name of a file that cannot be imported, or skips itself.
_WHOLE_FILE = "setUpModule"
_PHASES = ("setup", "call", "teardown")


def name_of_node(nodeid: str) -> str:
    """A test's name in the journal, from pytest's: of "test_x.py::Class::test_a[1.5]" it is "Class.test_a[1.5]", and
    a fixture of the whole file for the file itself."""
    words, bracket, parameters = nodeid.partition("::")[2].partition("[")
    return words.replace("::", ".") + bracket + parameters or _WHOLE_FILE


class ReportDetails:
    """Says in each report how the exception reads in one line, and what the harness knows of the test's ranks."""

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: Any, call: Any) -> Generator[None, Any, None]:
        """pytest's hook, called while the test's instance is still there."""
        made = yield
        error = call.excinfo.value if call.excinfo is not None else None
        test = item if getattr(item, "ranks", None) is not None else getattr(item, "instance", None)
        details = {
            "headline": headline(error) if error is not None else "",
            "is_failure": call.when == "call" and isinstance(error, AssertionError | pytest.fail.Exception),
            "is_unexpected": type(error).__name__ == "Failed" and str(error).startswith("Unexpected success"),
            "notes": list(notes_of(test)) if call.when == "call" else [],
            "ranks": [vars(record) for record in records_of(test)] if call.when == "call" else [],
        }
        report = made.get_result()
        setattr(report, _DETAILS, details)
        show_report_alone(error, report.longrepr, item)


class PytestJournal:
    """A pytest plugin; pytest calls its methods by their names.

    Args:
        log: takes the entries.
        names: the names of tests by pytest's own, where they are not `name_of_node`'s.
    """

    def __init__(self, log: TestLog, names: dict[str, str] | None = None) -> None:
        self.interrupt: KeyboardInterrupt | None = None  # the interrupt by which the user stopped the run, or None
        self._log = log
        self._names = names if names is not None else {}
        self._item: Any = None  # pytest's, of the test that runs here
        self._running: dict[str, RunningTest] = {}  # under pytest-xdist several at a time
        self._notes: dict[str, tuple[str, ...]] = {}
        self._ranks: dict[str, tuple[RankRecord, ...]] = {}

    def pytest_collectreport(self, report: Any) -> None:
        """A file or a class that cannot be collected has failed itself, and one that skips is skipped itself."""
        if not report.passed:
            self.pytest_runtest_logstart(report.nodeid)
            self._running[report.nodeid].events.append(_event_of(report, {}))
            self.pytest_runtest_logfinish(report.nodeid)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[nodeid] = RunningTest(self._name(nodeid))
        self._log.start(self._name(nodeid))

    def pytest_runtest_setup(self, item: Any) -> None:
        self._item = item

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called after set-up, body and tear-down, and for each subtest."""
        if report.nodeid not in self._running:
            return  # it has ended: its worker has crashed
        details: dict[str, Any] = getattr(report, _DETAILS, {})
        if not report.passed or report.when == "call":
            self._running[report.nodeid].events.append(_event_of(report, details))
        if details.get("notes"):
            self._notes[report.nodeid] = tuple(details["notes"])
        if details.get("ranks"):
            self._ranks[report.nodeid] = tuple(RankRecord(**record) for record in details["ranks"])
        if report.when not in _PHASES:  # pytest-xdist's, of a test whose worker has crashed
            self.pytest_runtest_logfinish(report.nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._item = None
        running = self._running.pop(nodeid, None)
        entry = running.entry(self._ranks.pop(nodeid, ())) if running is not None else None
        if entry is not None:
            self._log.end(replace(entry, notes=self._notes.pop(nodeid, ())))

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        if isinstance(excinfo.value, pytest.Session.Interrupted):
            return  # by pytest itself: something could not be collected
        is_signal = isinstance(excinfo.value, KeyboardInterrupt)  # pytest.exit comes here too
        self.interrupt = excinfo.value if is_signal else KeyboardInterrupt()
        if self._item is not None:
            without_the_handler(excinfo.tb)
            report = interrupt_report(self.interrupt)
            detail = report or str(self._item.repr_failure(excinfo))
            name = self._name(self._item.nodeid)
            self._log.interrupt(name, report, detail)
            print("\n".join([f"\nINTERRUPTED: {name}", *([] if report else [detail])]), file=sys.stderr)

    def _name(self, nodeid: str) -> str:
        return self._names.get(nodeid, name_of_node(nodeid))


def _event_of(report: Any, details: dict[str, Any]) -> Event:
    """The event of a report, with the details that came with it."""
    is_marked = hasattr(report, "wasxfail")
    if report.skipped:
        return Event(TestStatus.EXPECTED_FAILURE) if is_marked else Event(TestStatus.SKIPPED, _skip_reason(report))
    if report.passed:
        return Event(TestStatus.PASSED)
    captured = (f"{title}:\n{text.rstrip()}" for title, text in report.sections if text.strip())
    detail = "\n\n".join([report.longreprtext, *captured])
    if details.get("is_unexpected") or detail.startswith("[XPASS(strict)]"):
        return Event(TestStatus.UNEXPECTED_SUCCESS, UNEXPECTED_SUCCESS, detail)
    status = TestStatus.FAILED if details.get("is_failure") else TestStatus.ERROR
    return Event(status, details.get("headline") or _last_error(detail), detail)


def _skip_reason(report: Any) -> str:
    said = report.longrepr
    return str(said[2] if isinstance(said, tuple | list) else said).removeprefix("Skipped: ")


def _last_error(text: str) -> str:
    """The line of a report that says what went wrong: pytest marks it by an E, or it is the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [line.removeprefix("E ").strip() for line in lines if line.startswith("E ")]
    return next(iter([*marked[-1:], *lines[-1:]]), "")


def run_with_pytest(names: Sequence[str], script: str, options: ProgramOptions, log: TestLog) -> None:
    """Have pytest run tests of a file: `--use-pytest`."""
    selection = _Selection(names)
    journal = PytestJournal(log, selection.names)
    pytest.main([*_flags(options), script], plugins=[selection, ReportDetails(), journal])
    if journal.interrupt is not None:
        raise journal.interrupt


def _flags(options: ProgramOptions) -> list[str]:
    flags = {
        "-x": options.failfast,
        "--showlocals": options.settings.showlocals,
        "-q": options.verbosity == 0,
        "-v": options.verbosity == 2,
    }
    return [flag for flag, is_set in flags.items() if is_set]


class _Selection:
    """A pytest plugin that leaves out what unittest would not run, and what the user did not select."""

    def __init__(self, wanted: Sequence[str]) -> None:
        self.names: dict[str, str] = {}  # the names of tests, by pytest's own
        self._wanted = frozenset(wanted)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            if getattr(item, "cls", None) is not None:
                self.names[item.nodeid] = f"{item.cls.__qualname__}.{item.name}"
        items[:] = [item for item in items if self.names.get(item.nodeid) in self._wanted]
