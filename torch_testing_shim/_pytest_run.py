"""Tests run by pytest: `--use-pytest`. A plugin object turns pytest's reports into entries of the log."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch_testing_shim._journal import JournalEntry, RankRecord, TestStatus
from torch_testing_shim._program_options import ProgramOptions
from torch_testing_shim._rank_records import records_of
from torch_testing_shim._test_log import UNEXPECTED_SUCCESS, TestLog, headline, interrupt_report
from torch_testing_shim._test_notes import notes_of

__all__ = ["PytestMissing", "run_with_pytest"]

_QUIET, _VERBOSE = 0, 2


class PytestMissing(ValueError):
    """pytest is not installed; the message is one sentence."""


def run_with_pytest(names: Sequence[str], script: str, options: ProgramOptions, log: TestLog) -> None:
    """Has pytest run tests of a file.

    Raises:
        PytestMissing: it is not installed.
        KeyboardInterrupt: the user stopped the run.
    """
    try:
        import pytest
    except ImportError:
        raise PytestMissing("--use-pytest needs pytest, which is not installed") from None
    reporter = _Reporter(names, log)
    pytest.main([*_flags(options), script], plugins=[reporter])
    if reporter.interrupt is not None:
        raise reporter.interrupt


def _flags(options: ProgramOptions) -> list[str]:
    flags = {
        "-x": options.failfast,
        "--showlocals": options.showlocals,
        "-q": options.verbosity == _QUIET,
        "-v": options.verbosity == _VERBOSE,
    }
    return [flag for flag, is_set in flags.items() if is_set]


class _Reporter:
    """A pytest plugin; pytest calls its methods by their names."""

    def __init__(self, wanted: Sequence[str], log: TestLog) -> None:
        self.interrupt: KeyboardInterrupt | None = None
        self._wanted = frozenset(wanted)
        self._log = log
        self._names: dict[str, str] = {}
        self._running: Any = None  # pytest's item
        self._started = self._started_at = 0.0
        self._ranks: tuple[RankRecord, ...] = ()
        self._entry: JournalEntry | None = None
        self._notes: tuple[str, ...] = ()

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Leaves out what unittest would not run, and what the user did not select."""
        for item in items:
            if getattr(item, "cls", None) is not None:
                self._names[item.nodeid] = f"{item.cls.__qualname__}.{item.name}"
        items[:] = [item for item in items if self._names.get(item.nodeid) in self._wanted]

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        is_signal = isinstance(excinfo.value, KeyboardInterrupt)  # pytest.exit comes here too
        self.interrupt = excinfo.value if is_signal else KeyboardInterrupt()
        if self._running is not None:
            report = interrupt_report(self.interrupt)
            detail = report or str(self._running.repr_failure(excinfo))
            name = self._names[self._running.nodeid]
            self._log.interrupt(name, report, detail)
            print("\n".join([f"\nINTERRUPTED: {name}", *([] if report else [detail])]), file=sys.stderr)

    def pytest_runtest_setup(self, item: Any) -> None:
        self._running = item

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._started, self._started_at = time.perf_counter(), time.time()
        self._entry, self._ranks, self._notes = None, (), ()
        self._log.start(self._names[nodeid])

    def pytest_runtest_makereport(self, item: Any, call: Any) -> None:
        """Called before the others, while the test's instance is still there."""
        if call.when == "call":
            self._notes = notes_of(getattr(item, "instance", None))
            self._ranks = records_of(getattr(item, "instance", None))

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called after set-up, body and tear-down; failures are told by `pytest_exception_interact`."""
        if report.skipped and hasattr(report, "wasxfail"):
            self._ended(report, TestStatus.EXPECTED_FAILURE)
        elif report.skipped:
            self._ended(report, TestStatus.SKIPPED, str(report.longrepr[2]).removeprefix("Skipped: "))
        elif report.passed and report.when == "call":
            self._ended(report, TestStatus.PASSED)

    def pytest_exception_interact(self, node: Any, call: Any, report: Any) -> None:
        if not hasattr(report, "when"):
            return  # a file that could not be collected: its tests never end, which the run reports
        error = call.excinfo.value
        if type(error).__name__ == "Failed" and str(error).startswith("Unexpected success"):
            self._ended(report, TestStatus.UNEXPECTED_SUCCESS, UNEXPECTED_SUCCESS)
            return
        is_failure = isinstance(error, AssertionError) and report.when == "call"
        status = TestStatus.FAILED if is_failure else TestStatus.ERROR
        self._ended(report, status, headline(error), report.longreprtext)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._running = None
        if self._entry is not None:
            self._log.end(replace(self._entry, notes=self._notes))

    def _ended(self, report: Any, status: TestStatus, reason: str = "", detail: str = "") -> None:
        """The first failure of a test stays; what comes after a pass or a skip (its tear-down fails) replaces it."""
        if self._entry is None or not self._entry.status.is_failure:
            seconds = time.perf_counter() - self._started
            self._entry = JournalEntry(
                self._names[report.nodeid], status, seconds, reason, detail, self._started_at, self._ranks
            )
