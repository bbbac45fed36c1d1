"""The effect of an entry on a test's result: every row of the table."""

from __future__ import annotations

import sys
from pathlib import Path

from torch_testing_shim._runner.expectations.judgement import FLAKY_RETRIES, Judge, RunJudgement
from torch_testing_shim._runner.result import DID_NOT_RUN, Failure, RunSummary
from torch_testing_shim._shared.expectations import Expectation, FileExpectations
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from expectation_samples import ERROR, FAILED, FLAKY, SKIP, SKIPPED, XFAIL, crash, expectation, ran, result

BY_KNOWN = {"error": r"^RuntimeError: known$"}


def judge(*entries: Expectation) -> Judge:
    return Judge(FileExpectations(entries))


class JudgementTest(TestCase):
    def test_every_result_under_every_expectation(self) -> None:
        entry = {
            "passed": ran("A.a"),
            "failed as known": ran("A.a", FAILED, "RuntimeError: known"),
            "failed otherwise": ran("A.a", ERROR, "OSError: other"),
            "skipped": ran("A.a", SKIPPED, "no device"),
            "marked": ran("A.a", TestStatus.EXPECTED_FAILURE),
        }
        told = []
        for expect in (XFAIL, FLAKY, SKIP):
            for what, end in entry.items():
                judged = judge(expectation("x::A.a", expect, **BY_KNOWN)).entry(end, "")
                told.append(": ".join(filter(None, [expect.value, what, judged.status.value, judged.reason])))
        self.assertExpectedInline(
            "\n".join(told),
            """\
xfail: passed: unexpected success: the test passed, though it is expected to fail
xfail: failed as known: expected failure: RuntimeError: known
xfail: failed otherwise: error: OSError: other; expected was an error that matches '^RuntimeError: known$'
xfail: skipped: skipped: no device
xfail: marked: expected failure
flaky: passed: passed
flaky: failed as known: failed: RuntimeError: known
flaky: failed otherwise: error: OSError: other; expected was an error that matches '^RuntimeError: known$'
flaky: skipped: skipped: no device
flaky: marked: expected failure
skip: passed: passed
skip: failed as known: failed: RuntimeError: known
skip: failed otherwise: error: OSError: other
skip: skipped: skipped: no device
skip: marked: expected failure""",
        )

    def test_reason_and_issue_are_told(self) -> None:
        because = {"reason": "no bfloat16", "issue": "https://1"}
        xfail, flaky = judge(expectation("x", **because)), judge(expectation("x", FLAKY, **because))
        self.assertEqual("no bfloat16 (https://1): why", xfail.entry(ran("A.a", FAILED, "why"), "").reason)
        self.assertTrue(xfail.entry(ran("A.a"), "").reason.endswith("is expected to fail: no bfloat16 (https://1)"))
        notes = flaky.entry(ran("A.a", FAILED, "why"), "").notes
        self.assertEqual(("is expected to be flaky: no bfloat16 (https://1)",), notes)

    def test_an_error_is_searched_for_in_the_whole_report(self) -> None:
        deep = judge(expectation("x", error="in the third line")).entry(
            ran("A.a", FAILED, "why", "1\n2\nin the third line"), ""
        )
        self.assertIs(TestStatus.EXPECTED_FAILURE, deep.status)

    def test_a_crash_is_a_failure_by_its_named_cause(self) -> None:
        crashed = result(ran("A.b"), faults=(crash("A.a"), Failure("test_x", "A.c", DID_NOT_RUN, "x")))
        expected = judge(expectation("x::A.a", error="SIGSEGV"), expectation("x::A.c")).result(crashed)
        self.assertEqual((2, 1, DID_NOT_RUN), (expected.passed, expected.failed, expected.failures[0].label))
        self.assertEqual(("A.a", 0.0), (expected.entries[-1].test, expected.entries[-1].seconds))
        other = judge(expectation("x::A.a", error="SIGBUS")).result(crashed)
        self.assertEqual((1, 2), (other.passed, other.failed))
        self.assertTrue(other.failures[0].reason.endswith("; expected was an error that matches 'SIGBUS'"))

    def test_the_entry_holds_on_the_device_that_the_process_has_told(self) -> None:
        here = Judge(FileExpectations((expectation("x", devices=("npu",)),)), "npu")
        failed = ran("A.a", FAILED, "why")
        for device, is_expected in (("npu", True), ("cpu", False), ("", True)):
            self.assertIs(is_expected, here.result(result(failed, device=device)).failed == 0, device)

    def test_a_test_that_runs_again_is_judged_each_time(self) -> None:
        again = result(ran("A.a", FAILED, "other"), reruns=(ran("A.a"),))
        self.assertEqual(1, judge(expectation("x", error="known")).result(again).failed)
        self.assertEqual(0, judge(expectation("x", FLAKY)).result(again).failed)
        self.assertEqual(again, judge().result(again))

    def test_only_the_known_failure_of_a_flaky_test_runs_again_by_itself(self) -> None:
        flaky, known = judge(expectation("x", FLAKY, **BY_KNOWN)), ran("A.a", FAILED, "RuntimeError: known")
        self.assertEqual(FLAKY_RETRIES, flaky.retries(known, "", 0))
        self.assertEqual(5, flaky.retries(known, "", 5))
        self.assertEqual(0, flaky.retries(ran("A.a", FAILED, "other"), "", 0))
        self.assertEqual(0, judge(expectation("x")).retries(known, "", 0))

    def test_a_run_without_expectations_leaves_results_and_processes_as_they_are(self) -> None:
        nothing, failed = RunJudgement(), result(ran("A.a", FAILED, "why"))
        self.assertEqual((failed, {}), (nothing.judge(failed), nothing.variables("test_x", Path("/no/such/folder"))))
        self.assertEqual((RunSummary((failed,)), []), nothing.conclude(RunSummary((failed,)), lambda changed: changed))
        self.assertEqual(0, nothing.judge_of("test_x").retries(failed.entries[0], "cpu", 0))

    def test_a_flaky_test_runs_again_twice_on_its_device(self) -> None:
        here = Judge(FileExpectations((expectation("x", FLAKY, devices=("npu",)),)), "npu")
        failed = ran("A.a", FAILED, "why")
        for device, times in (("npu", 2), ("cpu", 0), ("", 2)):
            self.assertEqual(times, here.retries(failed, device, 0), device)


if __name__ == "__main__":
    run_tests()
