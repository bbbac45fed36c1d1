"""A rank's outcome, made of pytest's reports: subtests, tear-down after a failure, methods of unittest's classes."""

import sys
from pathlib import Path
from typing import ClassVar

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pytest_samples import SharedRunTestCase

TESTS = """
import unittest, warnings
pytestmark = pytest.mark.ranks(2)

def test_subtests(subtests, rank):
    for number in range(3):
        with subtests.test(number=number):
            assert rank == 0 or number != 1
    assert True

def test_subtests_pass(subtests):
    with subtests.test("text", number=1):
        pass
    with subtests.test("skipped"):
        pytest.skip("in a subtest")

@pytest.fixture
def torn():
    yield
    raise OSError("torn")

def test_fails_before_it_is_torn(torn):
    warnings.warn("careful", stacklevel=1)
    raise ValueError("first")

@pytest.fixture
def slow():
    yield
    time.sleep(0.3)

def test_the_first_exception_leads(slow, rank, process_group):
    if rank == 1:
        raise ValueError("mine")
    dist.barrier()

def test_text_that_cannot_be_shown():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError
    raise Odd

def test_explained(rank):
    assert [1, 2, rank] == [1, 2, 0]

def test_text_of_several_lines(rank):
    assert rank == 0, "first line\\nsecond line"

def test_fixture_that_is_not_there(no_such_fixture): pass

def test_turned_into_a_failure(request, rank):
    request.node.leak = "leak found" if rank == 1 else ""

def test_exception_turned_into_a_skip():
    raise NotImplementedError("later")

def test_exception_turned_into_a_skip_in_one(rank):
    if rank == 1:
        raise NotImplementedError("later")

def test_exception_turned_into_an_expected_one():
    raise LookupError("known")

def test_exception_turned_into_a_pass():
    raise InterruptedError

def test_skip_turned_into_a_failure():
    pytest.skip("idle")

def test_pass_turned_into_a_skip(request):
    request.node.was_in_vain = True

def test_strict_mark_of_its_own(request):
    request.node.add_marker(pytest.mark.xfail(strict=True, reason="added"))

def test_strict_mark_of_its_own_in_one(request, rank):
    request.node.add_marker(pytest.mark.xfail(strict=True, reason="added"))
    assert rank == 0

@pytest.mark.xfail(raises=ValueError)
def test_fails_as_expected_and_is_torn(torn):
    raise ValueError

class TestOfUnittest(unittest.TestCase):
    def tearDown(self):
        if self._testMethodName == "test_is_torn":
            raise OSError("torn")

    def test_passes(self):
        self.assertTrue(True)

    def test_fails(self):
        self.fail("on purpose")

    def test_raises(self):
        raise OSError("boom")

    def test_is_torn(self): pass

    def test_skips(self):
        self.skipTest("inside")

    @unittest.skip("by decorator")
    def test_is_skipped(self): pass

    @unittest.expectedFailure
    def test_expected(self):
        self.fail("expected")

    @unittest.expectedFailure
    def test_unexpected(self): pass

    def test_subtests(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertNotEqual(1, number)

class TestAsync(unittest.IsolatedAsyncioTestCase):
    async def test_passes(self): pass

    async def test_fails(self):
        self.fail("awaited")
"""
CONFTEST = """
import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    made = yield
    report = made.get_result()
    if call.when == "call" and getattr(item, "leak", ""):
        report.outcome, report.longrepr = "failed", item.leak
    if call.when != "call":
        return
    if report.skipped and "idle" in report.longreprtext:
        report.outcome, report.longrepr = "failed", "nobody is idle here"
    elif hasattr(item, "was_in_vain"):
        report.outcome, report.longrepr = "skipped", (__file__, 1, "Skipped: in vain")
    elif call.excinfo is None:
        return
    elif call.excinfo.errisinstance(NotImplementedError):
        report.outcome, report.longrepr = "skipped", (__file__, 1, f"Skipped: not here: {call.excinfo.value}")
    elif call.excinfo.errisinstance(LookupError):
        report.outcome, report.wasxfail = "skipped", "a known bug"
    elif call.excinfo.errisinstance(InterruptedError):
        report.outcome = "passed"
"""


class Reports(SharedRunTestCase):
    files: ClassVar = {"test_sample.py": TESTS, "conftest.py": CONFTEST}
    extra: ClassVar = {"CI": "1"}  # where pytest cuts no line of its summary

    def ended(self, test_class="", **expected):
        self.assert_ended(self.shared, **{f"{test_class}{name}": end for name, end in expected.items()})

    def test_subtests(self):
        if "fixture 'subtests' not found" in self.shared.output:
            self.skipTest("pytest 9 brings subtests")
        self.ended(
            test_subtests=("FAILED", "rank 1 failed in subtest (number=1): AssertionError: assert "),
            test_subtests_pass=("PASSED", ""),
        )
        self.assertNotRegex(self.shared.output, r"(?m)^\[ranks? [\d, ]+\] [u,.-]+$")

    def test_the_exception_before_tear_down_leads(self):
        self.ended(test_fails_before_it_is_torn=("FAILED", "rank * errored: ValueError: first"))
        self.assert_said("after that, teardown failed:", "warnings of all ranks:\n    2 x UserWarning: careful\n")

    def test_the_rank_that_failed_first_leads(self):
        self.ended(test_the_first_exception_leads=("FAILED", "rank 1 errored: ValueError: mine"))
        self.assert_said("rank 0 lost its connection to rank 1")

    def test_an_exception_without_a_text(self):
        self.ended(test_text_that_cannot_be_shown=("FAILED", "rank * errored: "))

    def test_an_assertion_is_explained(self):
        self.ended(test_explained=("FAILED", "rank 1 failed: AssertionError: assert [1, 2, 1] == [1, 2, 0]"))
        self.assert_said("E         At index 2 diff: 1 != 0\n")

    def test_the_summary_has_one_line_for_each_test(self):
        self.ended(test_text_of_several_lines=("FAILED", "rank 1 failed: AssertionError: first line"))
        *_, summary = self.shared.output.partition("short test summary info")
        lines = [line.split(" ", 1)[0] for line in summary.splitlines()[1:-1]]
        self.assertEqual(
            [], [kind for kind in lines if kind not in ("PASSED", "FAILED", "SKIPPED", "XFAIL", "SUBSKIPPED")]
        )

    def test_a_plugin_turns_a_pass_into_a_failure(self):
        self.ended(test_turned_into_a_failure=("FAILED", "rank 1 failed: leak found"))

    def test_a_plugin_turns_an_exception_into_something_else(self):
        self.ended(
            test_exception_turned_into_a_skip_in_one=("FAILED", "ranks disagree: rank 1 skipped (not here: later)"),
            test_exception_turned_into_an_expected_one=("XFAIL", "a known bug"),
            test_exception_turned_into_a_pass=("PASSED", ""),
        )

    def test_a_plugin_turns_a_skip_into_a_failure(self):
        self.ended(test_skip_turned_into_a_failure=("FAILED", "rank * failed: nobody is idle here"))

    def test_a_strict_mark_that_only_ranks_have(self):
        self.ended(
            test_strict_mark_of_its_own=("FAILED", "Failed: [XPASS(strict)] added"),
            test_strict_mark_of_its_own_in_one=("XFAIL", "added"),
        )

    def test_tear_down_fails_after_an_expected_failure(self):
        self.ended(test_fails_as_expected_and_is_torn=("FAILED", "rank * errored: OSError: torn"))

    def test_a_fixture_that_is_not_there_is_named(self):
        self.ended(
            test_fixture_that_is_not_there=(
                "FAILED",
                "rank * errored: FixtureLookupError: fixture 'no_such_fixture' not found",
            )
        )

    def test_methods_of_unittest_that_fail(self):
        self.ended(
            "TestOfUnittest::",
            test_passes=("PASSED", ""),
            test_fails=("FAILED", "rank * failed: AssertionError: on purpose"),
            test_raises=("FAILED", "rank * errored: OSError: boom"),
            test_is_torn=("FAILED", "rank * errored: OSError: torn"),
            test_subtests=("FAILED", "rank * failed in subtest (number=1): AssertionError: 1 == 1"),
        )

    def test_skips_of_methods_of_unittest_and_by_a_plugin(self):
        expected = ["by decorator", "in vain", "inside", "not here: later"]
        self.assertEqual(expected, sorted(said for _, said in self.shared.outcomes[""]))

    def test_methods_of_unittest_that_are_expected_to_fail(self):
        self.ended(
            "TestOfUnittest::",
            test_expected=("XFAIL", ""),
            test_unexpected=("FAILED", "rank * failed: Failed: Unexpected success"),
        )

    def test_coroutines_of_unittest(self):
        self.ended(
            "TestAsync::", test_passes=("PASSED", ""), test_fails=("FAILED", "rank * failed: AssertionError: awaited")
        )


if __name__ == "__main__":
    run_tests()
