"""The lists at the end of a run: the slowest tests, and why tests were skipped."""

from __future__ import annotations

from torch_testing_shim._runner.report.wording import skip_reasons, slowest_tests
from torch_testing_shim._runner.result import FileEnding, FileResult, RunSummary
from torch_testing_shim._shared.journal import JournalEntry, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests


def summary(*entries: JournalEntry) -> RunSummary:
    return RunSummary((FileResult(FileEnding("test_x", 0), entries),))


def skipped(test: str, reason: str) -> JournalEntry:
    return JournalEntry(test, TestStatus.SKIPPED, 0.0, reason)


class ListingsTest(TestCase):
    def test_the_slowest_come_first_and_equals_by_name(self) -> None:
        times = {"A.c": 0.25, "A.b": 0.25, "A.a": 12.5, "A.d": 0.0004}
        run = summary(*(JournalEntry(test, TestStatus.PASSED, seconds) for test, seconds in times.items()))
        self.assertExpectedInline(
            "\n".join(slowest_tests(run, 3)),
            """\
slowest 3 of 4 tests:
   12.500s  test_x::A.a
    0.250s  test_x::A.b
    0.250s  test_x::A.c""",
        )
        self.assertEqual(5, len(slowest_tests(run, 0)))
        self.assertEqual(slowest_tests(run, 0), slowest_tests(run, 9))

    def test_one_line_for_each_reason_the_commonest_first(self) -> None:
        rare = [skipped("A.a", ""), skipped("A.b", "needs cuda")]
        common = [skipped(f"B.{number}", "needs 4 gpus") for number in range(5)]
        self.assertExpectedInline(
            "\n".join(skip_reasons(summary(*rare, *common))),
            """\
SKIPPED  5  needs 4 gpus  (test_x::B.0, test_x::B.1, test_x::B.2, and 2 more)
SKIPPED  1  no reason  (test_x::A.a)
SKIPPED  1  needs cuda  (test_x::A.b)""",
        )

    def test_a_run_of_nothing_has_lists_too(self) -> None:
        self.assertEqual(["slowest 0 of 0 tests:"], slowest_tests(RunSummary(), 3))
        self.assertEqual(["no test was skipped"], skip_reasons(summary(JournalEntry("A.a", TestStatus.PASSED, 1.0))))


if __name__ == "__main__":
    run_tests()
