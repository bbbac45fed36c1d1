"""JUnit XML: one file per test file, written when it ends, where upstream's reports lie.

    <folder>/<dotted.file>/TEST-<dotted.file>.xml      one <testsuite> per test class

The default folder is test/test-reports/python-unittest. A test that ran when the user stopped the run, and what the
runner itself found (a crash, a file that did not import), are errors here: whoever reads the report alone must not see
green.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from junitparser import Error, JUnitXml, Skipped, TestCase, TestSuite
from junitparser import Failure as FailureElement
from junitparser.junitparser import FinalResult

from torch_testing_shim._journal import TestStatus

from ..result import FileResult
from ..usage_error import UsageError

__all__ = ["JUnitReport", "junit_document"]

#: Characters that XML 1.0 has no way to write.
NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class JUnitReport:
    """Writes reports below `folder`.

    Raises:
        UsageError: reports cannot be written there.
    """

    folder: Path

    def __post_init__(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            raise UsageError(f"cannot write JUnit XML to {str(self.folder)!r}: {error.strerror}") from error

    def write(self, result: FileResult) -> FileResult:
        """Writes the report of one file; returns `result`, with a fault where the report could not be written."""
        dotted = result.file.replace("/", ".")
        path = self.folder / dotted / f"TEST-{dotted}.xml"
        unfinished = path.with_suffix(".part")
        try:
            path.parent.mkdir(exist_ok=True)
            junit_document(result).write(str(unfinished), pretty=True)
            os.replace(unfinished, path)  # a reader finds the whole report or none
        except OSError as error:
            return result.with_fault("error", f"its JUnit XML could not be written to {str(path)!r}: {error.strerror}")
        return result


def junit_document(result: FileResult) -> JUnitXml:
    """The report of one file; suites in the order in which their first test ended."""
    dotted = result.file.replace("/", ".")
    cases = [_case(dotted, e.test, e.seconds, _element(e.status, e.reason, e.detail)) for e in result.entries]
    for fault in result.faults:
        cases.append(_case(dotted, fault.test, 0.0, _result(Error, fault.label, fault.reason, fault.detail)))
    for test in result.interrupted:
        cases.append(_case(dotted, test, 0.0, _result(Error, "interrupted", "the run was stopped while it ran", "")))
    by_class: dict[str, list[TestCase]] = {}
    for case in cases:
        by_class.setdefault(case.classname, []).append(case)
    document = JUnitXml(dotted)
    for name, members in by_class.items():
        suite = TestSuite(name)
        suite.add_testcases(members)
        document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]
    return document


def _case(dotted_file: str, test: str, seconds: float, element: FinalResult | None) -> TestCase:
    """One <testcase>; a fault of the file itself gets the file's name as its class."""
    class_name, _, method = test.rpartition(".")
    suite = f"{dotted_file}.{class_name}" if class_name else dotted_file
    case = TestCase(method or dotted_file, suite, round(seconds, 6))
    if element is not None:
        case.result = [element]
    return case


def _element(status: TestStatus, reason: str, detail: str) -> FinalResult | None:
    if status.is_skip:
        return _result(Skipped, "skipped", reason, "")
    if not status.is_failure:
        return None
    kind = Error if status is TestStatus.ERROR else FailureElement
    return _result(kind, status.value, reason, detail)


def _result(kind: type[FinalResult], label: str, reason: str, detail: str) -> FinalResult:
    element = kind(NOT_IN_XML.sub("?", reason), label)
    if detail:
        element.text = NOT_IN_XML.sub("?", detail)
    return element
