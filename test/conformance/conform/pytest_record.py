"""Runs a test file as `pytest FILE` would, and writes down how each of its tests ended.

    python -m conform.pytest_record JOURNAL FILE

Whatever harness the file imports has no part in it: a plugin of pytest's writes a journal in this project's format. So
PyTorch's harness can be asked for its outcomes, test by test, also of files that are written for pytest.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from torch_testing_shim._shared.journal import Journal, JournalEntry, TestStatus


class Recorder:
    """A plugin: pytest calls its methods by their names. A failure in a set-up or a tear-down is an error."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._status = TestStatus.PASSED
        self._reason = ""

    def pytest_collection_finish(self, session: Any) -> None:
        self._journal.plan([_name_of(item.nodeid) for item in session.items])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._status, self._reason = TestStatus.PASSED, ""
        self._journal.start(_name_of(nodeid))

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.passed or self._status.is_failure:
            return
        if report.skipped:
            self._status = TestStatus.EXPECTED_FAILURE if hasattr(report, "wasxfail") else TestStatus.SKIPPED
        elif report.longreprtext.startswith(("[XPASS(strict)]", "Unexpected success")):
            self._status = TestStatus.UNEXPECTED_SUCCESS
        else:
            self._status = TestStatus.FAILED if report.when == "call" else TestStatus.ERROR
        self._reason = report.longreprtext.strip().rpartition("\n")[2]

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._journal.end(JournalEntry(_name_of(nodeid), self._status, 0.0, self._reason))

    def pytest_sessionfinish(self) -> None:
        self._journal.finish()


def record_file(journal: Path, file: Path) -> int:
    """Run `file` by pytest in this process, in the file's order, and return pytest's exit status."""
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    return int(pytest.main([*options, str(file)], plugins=[Recorder(Journal(journal))]))


def _name_of(nodeid: str) -> str:
    words, bracket, parameters = nodeid.partition("::")[2].partition("[")
    return words.replace("::", ".") + bracket + parameters


if __name__ == "__main__":
    sys.exit(record_file(Path(sys.argv[1]), Path(sys.argv[2]).resolve()))
