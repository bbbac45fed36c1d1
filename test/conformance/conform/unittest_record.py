"""Runs a test file as `python FILE` would, and writes down how each of its tests ended.

    python -m conform.unittest_record JOURNAL FILE

Whatever harness the file imports has no part in it: unittest's own runner is replaced by one that writes a journal in
this project's format. So PyTorch's harness can be asked for its outcomes, test by test. Only this process writes:
processes that a test starts run FILE without the record.
"""

from __future__ import annotations

import re
import runpy
import sys
import time
import unittest
import unittest.runner
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch_testing_shim._shared.journal import Journal, JournalEntry, TestStatus

#: The gravest first. A test may fail and then err in its tear-down; one with subtests reports several times.
_BY_GRAVITY = (
    TestStatus.ERROR,
    TestStatus.FAILED,
    TestStatus.UNEXPECTED_SUCCESS,
    TestStatus.EXPECTED_FAILURE,
    TestStatus.PASSED,
    TestStatus.SKIPPED,
)
#: How unittest calls a fixture that tests share: "setUpClass (__main__.Class)".
_FIXTURE = re.compile(r"(?P<fixture>\w+) \(__main__\.?(?P<owner>.*)\)")


class RecordingRunner(unittest.runner.TextTestRunner):
    """unittest's text runner that writes the plan, the outcomes and the end of the run."""

    journal: Journal

    def run(self, test: Any) -> Any:
        self.planned = [_name_of(case.id()) for case in _cases(test)]
        self.journal.plan(self.planned)
        result = super().run(test)
        self.journal.finish()
        return result

    def _makeResult(self) -> RecordingResult:
        return RecordingResult(self.stream, self.descriptions, self.verbosity, self.journal, self.planned)


class RecordingResult(unittest.TextTestResult):
    """unittest's text result that writes the gravest thing that happened to each test."""

    def __init__(self, stream: Any, descriptions: bool, verbosity: int, journal: Journal, planned: list[str]) -> None:
        super().__init__(stream, descriptions, verbosity)
        self._journal = journal
        self._planned = planned
        self._events: list[tuple[TestStatus, str]] | None = None
        self._started = 0.0

    def startTest(self, test: Any) -> None:
        self._events, self._started = [], time.perf_counter()
        self._journal.start(_name_of(test.id()))
        super().startTest(test)

    def stopTest(self, test: Any) -> None:
        super().stopTest(test)
        for status in _BY_GRAVITY:
            reasons = [reason for happened, reason in self._events or () if happened is status]
            if reasons:
                self._end(_name_of(test.id()), status, reasons[0], time.perf_counter() - self._started)
                break
        self._events = None

    def addSuccess(self, test: Any) -> None:
        super().addSuccess(test)
        self._happened(test, TestStatus.PASSED)

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self._happened(test, TestStatus.FAILED, err)

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self._happened(test, TestStatus.ERROR, err)

    def addSkip(self, test: Any, reason: str) -> None:
        if self._events is None and isinstance(test, unittest.TestCase):
            self.startTest(test)  # Python 3.12.1 does not, where a decorator skips the test (python/cpython#106584)
        super().addSkip(test, reason)
        self._happened(test, TestStatus.SKIPPED, reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._happened(test, TestStatus.EXPECTED_FAILURE, err)

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self._happened(test, TestStatus.UNEXPECTED_SUCCESS)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is None:
            self._happened(test, TestStatus.PASSED)
        else:
            failed = issubclass(err[0], test.failureException)
            self._happened(test, TestStatus.FAILED if failed else TestStatus.ERROR, err)

    def _happened(self, test: Any, status: TestStatus, told: Any = "") -> None:
        reason = told if isinstance(told, str) else f"{told[0].__name__}: {told[1]}"
        if self._events is None:
            self._fixture_ended(test.id(), status, reason)
        else:
            self._events.append((status, reason))

    def _fixture_ended(self, text: str, status: TestStatus, reason: str) -> None:
        """A fixture that fails or skips, and what has not run because of it."""
        found = _FIXTURE.fullmatch(text)
        fixture, owner = (found["fixture"], found["owner"]) if found else (text, "")
        if status is not TestStatus.SKIPPED:
            self._end(f"{owner}.{fixture}".lstrip("."), status, reason)
        if fixture.startswith("setUp"):
            for name in self._planned:
                if not owner or name.rpartition(".")[0] == owner:
                    self._end(name, status, reason)

    def _end(self, name: str, status: TestStatus, reason: str, seconds: float = 0.0) -> None:
        self._journal.end(JournalEntry(name, status, seconds, reason))


def record_file(journal: Path, file: Path) -> None:
    """Run `file` in this process as its main module.

    Raises:
        SystemExit: as the file does at its end.
    """
    RecordingRunner.journal = Journal(journal)
    unittest.runner.TextTestRunner = RecordingRunner  # type: ignore[misc]
    sys.argv = [str(file)]
    sys.path[0] = str(file.parent)
    runpy.run_path(str(file), run_name="__main__")


def _cases(suite: Any) -> Iterator[unittest.TestCase]:
    if isinstance(suite, unittest.TestCase):
        yield suite
    else:
        for part in suite:
            yield from _cases(part)


def _name_of(test_id: str) -> str:
    return test_id.removeprefix("__main__.")


if __name__ == "__main__":
    record_file(Path(sys.argv[1]), Path(sys.argv[2]).resolve())
