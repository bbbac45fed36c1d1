"""JUnit XML: one file per test file, written when it ends, where upstream's reports lie.

    <folder>/<dotted.file>/TEST-<dotted.file>.xml      one <testsuite> per test class

The default folder is test/test-reports/python-unittest. The reports keep to the schema of Jenkins' xUnit plugin, which
Maven's Surefire and pytest write too. A test that ran when the user stopped the run, and the runner's own findings (a
crash, a file that did not import), are errors here, so that the report alone never shows green for them. The later runs
of a test that was run again are written as Surefire does: `flakyFailure` where one passed, else `rerunFailure`.
"""

from __future__ import annotations

import datetime
import os
import re
from dataclasses import dataclass
from pathlib import Path

from junitparser import Error, Failure as FailureElement, Skipped, TestCase as PlainTestCase
from junitparser.junitparser import FinalResult
from junitparser.xunit2 import (
    FlakyError,
    FlakyFailure,
    InterimResult,
    JUnitXml,
    RerunError,
    RerunFailure,
    TestCase,
    TestSuite,
)

from torch_testing_shim._shared.atomic_write import make_writable
from torch_testing_shim._shared.journal import JournalEntry, TestStatus
from torch_testing_shim._shared.node_ids import class_and_method

from ..result import FileResult
from ..usage_error import refusal
from .recorded_run import TestRow, rows_of

#: Characters that XML 1.0 has no way to write.
NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class JUnitReport:
    """Writes reports below `folder`."""

    folder: Path

    def __post_init__(self) -> None:
        with refusal(f"write JUnit XML to {str(self.folder)!r}"):
            make_writable(self.folder)

    def write(self, result: FileResult) -> FileResult:
        """Write the report of one file; return `result`, with a fault where the report could not be written."""
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
    by_class: dict[str, list[PlainTestCase]] = {}
    for row in rows_of(result):
        case = _case(dotted, row)
        by_class.setdefault(case.classname, []).append(case)
    document = JUnitXml(dotted)
    for name, members in by_class.items():
        suite = TestSuite(_printable(name))  # type: ignore[no-untyped-call]
        if result.ending.started_at:
            started = datetime.datetime.fromtimestamp(result.ending.started_at, datetime.timezone.utc)
            suite.timestamp = started.strftime("%Y-%m-%dT%H:%M:%S")
        suite.add_testcases(members)
        document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]
    return document


def _case(dotted_file: str, row: TestRow) -> TestCase:
    """One <testcase>; a fault of the file itself gets the file's name as its class."""
    class_name, method = class_and_method(row.test)
    suite = f"{dotted_file}.{class_name}" if class_name else dotted_file
    case = TestCase(_printable(method or dotted_file), _printable(suite), round(row.entry.seconds, 3))
    if row.is_failure:
        kind = Error if row.entry.status is TestStatus.ERROR else FailureElement
        case.result = [_result(kind, row.label, row.entry.reason, row.entry.detail)]
    elif row.is_skip:
        case.result = [_result(Skipped, "skipped", row.entry.reason, "")]
    failed_again = [run for run in row.reruns if run.status.is_failure]
    for run in [row.entry, *failed_again] if row.is_flaky and not row.is_failure else failed_again:
        case.add_interim_result(_interim_result(run, is_flaky=row.is_flaky))
    output = "".join(f"note: {note}\n" for note in row.notes)
    output += "".join(f"rank {rank.rank} ({rank.status}):\n{rank.output}\n" for rank in row.ranks if rank.output)
    if output:
        case.system_out = _printable(output)
    return case


def _result(kind: type[FinalResult], label: str, reason: str, detail: str) -> FinalResult:
    element = kind(_printable(reason), label)
    if detail:
        element.text = _printable(detail)
    return element


def _interim_result(run: JournalEntry, *, is_flaky: bool) -> InterimResult:
    """A failed run of a test that was run again."""
    is_error = run.status is TestStatus.ERROR
    kinds: tuple[type[InterimResult], type[InterimResult]] = (
        (FlakyFailure, FlakyError) if is_flaky else (RerunFailure, RerunError)
    )
    element = kinds[is_error](_printable(run.reason), run.status.value)
    if run.detail:
        element.stack_trace = _printable(run.detail)
    return element


def _printable(text: str) -> str:
    return NOT_IN_XML.sub("?", text)
