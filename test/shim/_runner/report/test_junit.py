"""The JUnit XML that CI reads."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import xmlschema
from hypothesis import strategies as st
from junitparser import JUnitXml, xunit2

from torch_testing_shim._runner.report.junit import JUnitReport, junit_document
from torch_testing_shim._runner.result import Failure, FileEnding, FileResult
from torch_testing_shim._runner.usage_error import UsageError
from torch_testing_shim._shared.journal import JournalEntry, RankRecord, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given
from report_samples import BROKEN, CRASH, FAILED, PASSED, SKIPPED

PASSED_AGAIN = dataclasses.replace(PASSED, test="A.test_two")
RANKS = JournalEntry(
    "A.test_ranks",
    TestStatus.ERROR,
    1.23456789,
    "rank 1 died",
    "rank 1 died",
    started_at=1.75e9,
    ranks=(RankRecord(0, "passed"), RankRecord(1, "died", output="last words")),
)
SCHEMA = Path(__file__).with_name("junit.xsd")


def _flaky(case: xunit2.TestCase) -> tuple[bool, list[str], list[str]]:
    """Whether a test case counts as passed after all, its failures, and the failures of its other runs."""
    return case.is_flaky, [r.message for r in case.result], [r.message for r in case.flaky_failures()]


def file(*entries: JournalEntry, faults: tuple[Failure, ...] = (), reruns: tuple[JournalEntry, ...] = ()) -> FileResult:
    return FileResult(FileEnding("a/test_x", 0, 1.25, started_at=1.75e9), entries, faults, reruns=reruns)


class JUnitTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def written(self, result: FileResult) -> Path:
        self.assertEqual(result, JUnitReport(self.folder / "reports").write(result))
        return self.folder / "reports" / "a.test_x" / "TEST-a.test_x.xml"

    def test_two_readers_read_the_same_back(self) -> None:
        path = self.written(file(PASSED, FAILED, SKIPPED, faults=(CRASH, BROKEN)))
        by_junitparser = [
            (case.classname, case.name, [(type(r).__name__.lower(), r.message) for r in case.result])
            for suite in JUnitXml.fromfile(str(path))
            for case in suite
        ]
        by_etree = [
            (case.get("classname"), case.get("name"), [(child.tag, child.get("message")) for child in case])
            for case in ElementTree.parse(path).iter("testcase")
        ]
        expected = [
            ("a.test_x.A", "test_one", []),
            ("a.test_x.A", "test_two", [("failure", "1 != 2")]),
            ("a.test_x.B", "test_three", [("skipped", "needs 2 gpus")]),
            ("a.test_x.B", "test_four", [("error", "ended with SIGKILL while this test ran")]),
            ("a.test_x", "a.test_x", [("error", "ended with exit status 3 although no test failed")]),
        ]
        self.assertEqual(expected, by_junitparser)
        self.assertEqual(expected, by_etree)

    def test_totals_times_and_reports(self) -> None:
        root = ElementTree.parse(self.written(file(PASSED, FAILED, SKIPPED, faults=(CRASH,)))).getroot()
        totals = [root.get(name) for name in ("tests", "failures", "errors", "time")]
        self.assertEqual(["4", "1", "1", "0.75"], totals)
        self.assertEqual(["0", "1"], [suite.get("skipped") for suite in root])
        failure = root.find(".//failure")
        assert failure is not None
        self.assertEqual(FAILED.detail, failure.text)

    def test_reports_keep_to_the_schema(self) -> None:
        schema = xmlschema.XMLSchema(str(SCHEMA))
        crashed_again = JournalEntry("B.test_four", TestStatus.ERROR, 0.1, "boom", "boom")
        result = file(
            PASSED, FAILED, SKIPPED, RANKS, faults=(CRASH, BROKEN), reruns=(FAILED, PASSED_AGAIN, crashed_again)
        )
        path = self.written(
            dataclasses.replace(result, interrupted=(JournalEntry("A.test_nine", TestStatus.ERROR, 0.0),))
        )
        schema.validate(str(path))
        broken = path.read_text().replace("testcase", "test")
        self.assertFalse(schema.is_valid(broken))  # the schema can say no

    def test_a_flaky_test_and_one_that_failed_again(self) -> None:
        """Surefire's elements, read by both readers."""
        again = JournalEntry("B.test_five", TestStatus.ERROR, 0.1, "boom", "its traceback")
        path = self.written(file(FAILED, again, reruns=(FAILED, again, PASSED_AGAIN)))
        flaky, failed = (case for suite in xunit2.JUnitXml.fromfile(str(path)) for case in suite)
        self.assertEqual((True, [], ["1 != 2", "1 != 2"]), _flaky(flaky))
        self.assertEqual((False, ["boom"], []), _flaky(failed))
        self.assertEqual("its traceback", failed.rerun_errors()[0].stack_trace)
        root = ElementTree.parse(path).getroot()
        self.assertEqual(
            ["flakyFailure", "flakyFailure", "error", "rerunError"], [e.tag for e in root.iterfind(".//testcase/*")]
        )
        self.assertEqual(("0", "1"), (root.get("failures"), root.get("errors")))

    def test_what_ranks_printed_stands_with_their_test(self) -> None:
        root = ElementTree.parse(self.written(file(RANKS))).getroot()
        output = root.findtext(".//system-out")
        self.assertEqual("rank 1 (died):\nlast words\n", output)

    def test_notes_of_all_runs_stand_with_their_test(self) -> None:
        noted = dataclasses.replace(RANKS, notes=("shared: 2 ranks on 1 x",))
        again = dataclasses.replace(RANKS, notes=("shared: 2 ranks on 1 x", "it left a thread"))
        root = ElementTree.parse(self.written(file(noted, PASSED, reruns=(again,)))).getroot()
        output = "note: shared: 2 ranks on 1 x\nnote: it left a thread\nrank 1 (died):\nlast words\n"
        self.assertEqual([output], [element.text for element in root.iterfind(".//system-out")])

    def test_a_test_that_was_interrupted_is_an_error(self) -> None:
        entry = JournalEntry("A.test_two", TestStatus.ERROR, 0.0, "stopped", "its stack")
        result = FileResult(FileEnding("a/test_x", -2), (PASSED,), interrupted=(entry,))
        self.assertEqual((2, 1), (junit_document(result).tests, junit_document(result).errors))

    def test_nothing_but_whole_reports_lie_in_the_folder(self) -> None:
        path = self.written(file(PASSED))
        self.written(file(FAILED))
        self.assertEqual([path], [p for p in (self.folder / "reports").rglob("*") if p.is_file()])
        self.assertEqual(1, JUnitXml.fromfile(str(path)).failures)

    @given(st.text(st.characters(exclude_categories=[])))
    def test_any_text_is_written_as_xml_that_can_be_read(self, text: str) -> None:
        result = file(JournalEntry("A.a", TestStatus.ERROR, 0.0, text, text))
        root = ElementTree.fromstring(junit_document(result).tostring())
        self.assertEqual(1, len(root.findall(".//error")))

    def test_a_folder_that_cannot_be_written_is_told_before_the_run(self) -> None:
        (self.folder / "file").touch()
        with self.assertRaisesRegex(UsageError, "cannot write JUnit XML to '.*/file': Not a directory"):
            JUnitReport(self.folder / "file")
        with self.assertRaisesRegex(UsageError, "cannot write JUnit XML to '.*/file/below': Not a directory"):
            JUnitReport(self.folder / "file" / "below")

    def test_a_report_that_cannot_be_written_later_makes_its_file_fail(self) -> None:
        report = JUnitReport(self.folder)
        (self.folder / "a.test_x").touch()
        result = report.write(file(PASSED))
        self.assertEqual((1, 1), (result.passed, result.failed))
        self.assertRegex(result.failures[0].reason, "its JUnit XML could not be written to .*: ")


if __name__ == "__main__":
    run_tests()
