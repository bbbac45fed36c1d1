"""The JUnit report of a test file: `--save-xml`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch_testing_shim._program.options import UsageError
from torch_testing_shim._shared.journal import JournalEntry, TestStatus


def check_reportable(path: Path) -> None:
    """Make sure, before any test has run, that a report can be written after them; missing folders are made."""
    try:
        import junitparser  # noqa: F401
    except ImportError:
        raise UsageError("--save-xml needs junitparser, which is not installed") from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise _cannot_write(path, error) from None


def write_report(entries: Sequence[JournalEntry], suite_name: str, path: Path) -> None:
    """Write one test case per entry."""
    try:
        from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite
    except ImportError:
        raise UsageError("a JUnit report needs junitparser, which is not installed") from None
    kinds = {
        TestStatus.FAILED: Failure,
        TestStatus.UNEXPECTED_SUCCESS: Failure,
        TestStatus.ERROR: Error,
        TestStatus.SKIPPED: Skipped,
    }
    suite = TestSuite(suite_name)
    for entry in entries:
        test_class, _, method = entry.test.rpartition(".")
        case = TestCase(method, test_class, entry.seconds)
        if entry.status in kinds:
            result = kinds[entry.status](_printable(entry.reason), entry.reason.partition(":")[0])
            result.text = _printable(entry.detail)
            case.result = [result]
        if entry.notes:
            case.system_out = _printable("".join(f"note: {note}\n" for note in entry.notes))
        suite.add_testcase(case)
    report = JUnitXml()
    report.add_testsuite(suite)
    try:
        report.write(str(path), pretty=True)
    except OSError as error:
        raise _cannot_write(path, error) from None


def _cannot_write(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write the report {path}: {error.strerror}")


def _printable(text: str) -> str:
    """`text` without control characters, which XML cannot hold."""
    return "".join(character if character.isprintable() or character in "\n\t" else "?" for character in text)
