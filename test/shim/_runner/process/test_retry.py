"""Tests that run again: decided from what a process left, and seen in runs of the real command."""

from __future__ import annotations

import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.plan.selection import FileSelection
from torch_testing_shim._runner.process.fold import fold_runs
from torch_testing_shim._runner.process.retry import (
    FinishedRun,
    RunKind,
    RunOrder,
    end_of,
    failed_runs,
    never_started,
    rerun_entry,
    resume_after,
    retries_after,
    unfinished_entry,
)
from torch_testing_shim._runner.result import FileEnding, FileResult
from torch_testing_shim._shared.journal import JournalContents, JournalEntry, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given
from runner_samples import RunnerTestCase, last_line

PASS, FAIL, SKIP = TestStatus.PASSED, TestStatus.FAILED, TestStatus.SKIPPED
FIRST = RunOrder(RunKind.FIRST, FileSelection("test_x"))
RETRY = RunOrder(RunKind.RETRY, FileSelection("test_x", ("A.a",)), test="A.a", attempt=1)


def entries(**statuses: TestStatus) -> tuple[JournalEntry, ...]:
    return tuple(JournalEntry(f"A.{name}", status, 0.1, "why") for name, status in statuses.items())


def run(
    order: RunOrder = FIRST,
    exit_code: int = 0,
    *,
    planned: str = "",
    unfinished: str = "",
    finished: bool = True,
    is_stopped: bool = False,
    seconds_allowed: float | None = None,
    **statuses: TestStatus,
) -> FinishedRun:
    """A process that ended; tests are the letters in `planned` and `unfinished`; planned are by default all seen."""
    seen = [*statuses, *unfinished]
    plan = tuple(f"A.{name}" for name in planned or seen)
    contents = JournalContents(plan, entries(**statuses), tuple(f"A.{name}" for name in unfinished), finished)
    ending = FileEnding("test_x", exit_code, 1.0, "tail", is_stopped, seconds_allowed=seconds_allowed)
    return FinishedRun(order, ending, contents)


def told(result: FileResult) -> list[str]:
    return [f"{failure.label} {failure.test}" for failure in result.failures]


class RestTest(TestCase):
    def test_the_tests_that_a_dead_process_left_go_on_in_a_new_one(self) -> None:
        died = run(exit_code=-signal.SIGKILL, planned="abcd", a=PASS, unfinished="b", finished=False)
        rest = resume_after(died)
        assert rest is not None
        self.assertEqual((RunKind.RESUME, ("A.c", "A.d"), 1.0), (rest.kind, rest.selection.tests, rest.seconds_used))
        self.assertEqual("the rest", str(rest))

    def test_what_has_no_rest(self) -> None:
        cases = {
            "it finished": run(planned="ab", a=PASS),
            "it got nowhere": run(exit_code=1, planned="ab", finished=False),
            "nothing is missing": run(exit_code=-9, a=PASS, unfinished="b", finished=False),
            "its time was over": run(exit_code=-9, planned="ab", unfinished="a", finished=False, seconds_allowed=3.0),
            "the user stopped it": run(exit_code=-9, planned="ab", unfinished="a", finished=False, is_stopped=True),
            "it ran one test again": run(RETRY, exit_code=-9, planned="ab", unfinished="a", finished=False),
        }
        for why, finished in cases.items():
            self.assertIsNone(resume_after(finished), why)

    def test_a_test_that_another_process_took_over_is_told_once(self) -> None:
        first = run(exit_code=3, planned="abc", a=PASS, unfinished="b", finished=False)
        rest = resume_after(first)
        assert rest is not None
        result = fold_runs([first, run(rest, c=PASS)])
        self.assertEqual((["crashed A.b"], 2), (told(result), result.passed))
        self.assertEqual((3, 2.0), (result.ending.exit_code, result.ending.seconds))

    def test_a_rest_that_does_not_run_is_not_lost(self) -> None:
        first = run(exit_code=3, planned="abc", unfinished="a", finished=False)
        rest = resume_after(first)
        assert rest is not None
        self.assertEqual(["crashed A.a", "did not run A.b", "did not run A.c"], told(fold_runs([first])))
        nothing = FinishedRun(rest, FileEnding("test_x", 1), JournalContents())
        self.assertEqual(
            ["crashed A.a", "error ", "did not run A.b", "did not run A.c"], told(fold_runs([first, nothing]))
        )


def as_it_is(entry: JournalEntry) -> JournalEntry:
    return entry


def again(finished: FinishedRun, retries: int) -> tuple[RunOrder, ...]:
    """Tests that run again where each result counts as it is."""
    return retries_after(finished, failed_runs(finished, as_it_is), lambda entry: retries)


class WordsTest(TestCase):
    def test_an_order_as_people_read_it(self) -> None:
        for expected, order in (
            ("", FIRST),
            ("run 2", replace(FIRST, number=2)),
            ("run 2, part 1 of 3", replace(FIRST, number=2, part=1, parts=3)),
            ("part 1 of 3, the rest", replace(FIRST, kind=RunKind.RESUME, part=1, parts=3)),
            ("A.a again", RETRY),
            ("names of its tests", replace(FIRST, kind=RunKind.DISCOVER)),
        ):
            self.assertEqual(expected, str(order))

    def test_a_test_that_is_planned_three_times_and_starts_twice_is_missing_once(self) -> None:
        contents = JournalContents(("A.a",) * 3, entries(a=PASS) * 2, (), False)
        self.assertEqual(("A.a",), never_started(contents))

    def test_a_limit_that_was_over_is_told_by_its_seconds(self) -> None:
        entry = unfinished_entry("A.a", FileEnding("test_x", -9, 7.0, seconds_allowed=1.5))
        self.assertEqual("the file's limit of 1.5 s was over while this test ran", entry.reason)

    def test_the_end_of_a_process_begins_a_sentence(self) -> None:
        crashed, late = FileEnding("test_x", -11), FileEnding("test_x", -9, seconds_allowed=2.5)
        self.assertEqual("the file's process ended with SIGSEGV", end_of(crashed))
        self.assertEqual("ended with SIGSEGV", end_of(crashed, whose="its"))
        self.assertEqual("part 2's process ended with SIGSEGV", end_of(crashed, whose="part 2's"))
        self.assertEqual("its limit of 2.5 s was over", end_of(late, whose="its"))

    def test_nothing_runs_again_of_a_stopped_process_and_the_first_attempt_is_the_first(self) -> None:
        stopped = run(exit_code=1, is_stopped=True, a=FAIL)
        self.assertEqual((), again(stopped, 2))
        (order,) = again(run(exit_code=1, a=FAIL), 2)
        self.assertEqual((1, 0, 0), (order.attempt, order.part, order.parts))

    def test_how_long_a_test_ran_that_never_ended_is_not_known(self) -> None:
        entry = unfinished_entry("A.a", FileEnding("test_x", 3, 7.0, "tail"))
        reason = "the file's process ended with exit status 3 while this test ran"
        self.assertEqual(JournalEntry("A.a", TestStatus.ERROR, 0.0, reason, "tail"), entry)

    def test_of_several_failures_that_of_the_test_itself_is_told(self) -> None:
        other, own = (JournalEntry(f"A.{name}", FAIL, 0.1, f"of {name}") for name in ("z", "a"))
        for failed, reason in (((other, own), "of a"), ((other,), "of z")):
            finished = FinishedRun(RETRY, FileEnding("test_x", 1), JournalContents(("A.z", "A.a"), failed, (), True))
            self.assertEqual(("A.a", reason), (rerun_entry(finished).test, rerun_entry(finished).reason))

    def test_a_fixture_that_ran_again_is_known_by_what_shares_it(self) -> None:
        fixture = replace(RETRY, test="A.setUpClass", selection=FileSelection("test_x", ("A",)))
        self.assertEqual(PASS, rerun_entry(run(fixture, a=PASS)).status)
        self.assertEqual(TestStatus.ERROR, rerun_entry(run(RETRY, b=PASS)).status)


class AgainTest(TestCase):
    def test_what_failed_or_never_ended_runs_again_alone(self) -> None:
        orders = again(run(exit_code=-9, a=PASS, b=FAIL, c=SKIP, unfinished="d", finished=False), retries=2)
        self.assertEqual([("A.b",), ("A.d",)], [order.selection.tests for order in orders])
        self.assertEqual("A.b again", str(orders[0]))

    def test_until_it_passes_or_the_retries_are_used_up(self) -> None:
        self.assertEqual((), again(run(b=FAIL), retries=0))
        self.assertEqual(2, again(run(RETRY, 1, a=FAIL), retries=2)[0].attempt)
        self.assertEqual((), again(run(RETRY, 1, a=FAIL), retries=1))
        self.assertEqual((), again(run(RETRY, a=PASS), retries=2))
        self.assertEqual((), again(run(b=FAIL, is_stopped=True), retries=2))
        self.assertEqual((), again(run(replace(FIRST, kind=RunKind.DISCOVER), 1, setUpModule=FAIL), retries=2))

    def test_a_failure_that_counts_as_none_does_not_run_again_and_some_run_again_more_often(self) -> None:
        def judge(entry: JournalEntry) -> JournalEntry:
            return replace(entry, status=PASS) if entry.test in ("A.b", "A.d") else entry

        finished = run(exit_code=-9, a=FAIL, b=FAIL, c=FAIL, unfinished="de", finished=False)
        failed = failed_runs(finished, judge)
        self.assertEqual(["A.a", "A.c", "A.e"], [entry.test for entry in failed])
        self.assertIn("SIGKILL while this test ran", failed[-1].reason)
        orders = retries_after(finished, failed, lambda entry: 2 if entry.test == "A.c" else 0)
        self.assertEqual(["A.c"], [order.test for order in orders])
        self.assertEqual((), failed_runs(run(replace(RETRY, test="A.b"), 1, b=FAIL), judge))

    def test_a_fixture_runs_again_with_what_shares_it(self) -> None:
        journal = JournalContents(
            (), tuple(JournalEntry(t, FAIL, 0.0) for t in ("A.setUpClass", "setUpModule")), (), True
        )
        orders = again(FinishedRun(FIRST, FileEnding("test_x", 1), journal), retries=1)
        self.assertEqual([("A",), ()], [order.selection.tests for order in orders])

    def test_only_a_pass_is_a_pass(self) -> None:
        again = {
            "passed": run(RETRY, a=PASS),
            "failed": run(RETRY, 1, a=FAIL),
            "skipped": run(RETRY, a=SKIP),
            "ran another test": run(RETRY, b=PASS),
            "another failed beside it": run(RETRY, 1, a=PASS, b=FAIL),
            "crashed": run(RETRY, -9, unfinished="a", finished=False),
            "crashed after it": run(RETRY, -9, a=PASS, finished=False),
            "ended badly": run(RETRY, 3, a=PASS),
            "found nothing": run(RETRY, 5),
            "left no journal": FinishedRun(RETRY, FileEnding("test_x", 2), JournalContents()),
            "timed out": run(RETRY, a=PASS, seconds_allowed=1.0),
        }
        self.assertEqual({"passed"}, {name for name, one in again.items() if rerun_entry(one).status.is_pass})
        for name, one in again.items():
            result = fold_runs([run(exit_code=1, a=FAIL, b=PASS), one])
            counts = (result.passed, result.failed, len(result.flaky))
            self.assertEqual((2, 0, 1) if name == "passed" else (1, 1, 0), counts, name)

    def test_a_flaky_test_is_a_failure_where_that_is_wanted(self) -> None:
        result = fold_runs([run(exit_code=1, a=FAIL), run(RETRY, a=PASS)], flaky_fails=True)
        self.assertEqual((0, 1, ["flaky A.a"]), (result.passed, result.failed, told(result)))
        self.assertEqual("passed when it was run again; at first: why", result.failures[0].reason)

    def test_a_test_that_failed_twice_has_to_pass_twice(self) -> None:
        twice = [run(exit_code=1, a=FAIL), run(exit_code=1, a=FAIL), run(RETRY, a=PASS)]
        self.assertEqual(2, fold_runs(twice).failed)
        self.assertEqual((0, 2), (lambda r: (r.failed, r.passed))(fold_runs([*twice, run(RETRY, a=PASS)])))

    @given(
        st.dictionaries(st.sampled_from("abcd"), st.sampled_from(TestStatus), min_size=1),
        st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(TestStatus)), max_size=6),
    )
    def test_no_failure_goes_without_a_pass_of_its_own(
        self, first: dict[str, TestStatus], later: list[tuple[str, TestStatus]]
    ) -> None:
        reruns = [
            run(RunOrder(RunKind.RETRY, FileSelection("test_x"), test=f"A.{name}", attempt=1), **{name: status})
            for name, status in later
        ]
        result = fold_runs([run(exit_code=1, **first), *reruns])
        passed_later = {name for name, status in later if status.is_pass}
        failed = {name for name, status in first.items() if status.is_failure}
        self.assertEqual({f"A.{name}" for name in failed - passed_later}, {f.test for f in result.failures if f.test})
        self.assertEqual(len(first), result.passed + result.skipped + len([f for f in result.failures if f.test]))


#: Fails, crashes or skips a number of times that a file counts, and passes then.
FLAKY = """
def times(self):
    path = "count." + self._testMethodName
    count = int(open(path).read()) if os.path.exists(path) else 0
    open(path, "w").write(str(count + 1))
    return count
def test_a_passes(self): pass
def test_b_fails_once(self): self.assertGreater(self.times(), 0)
def test_c_crashes_once(self):
    if not self.times(): os._exit(3)
def test_d_fails_then_skips(self):
    if self.times(): self.skipTest("not again")
    self.fail()
def test_e_always_fails(self): self.times(); self.fail()
def test_f_passes(self): self.times()
"""


class CommandTest(RunnerTestCase):
    def test_flaky_tests_pass_and_everything_else_stays_a_failure(self) -> None:
        self.sample("test_x", FLAKY)
        result = self.run_test("--retries", "2")
        self.assertEqual(
            (1, "4 passed, 2 failed, 0 skipped"), (result.returncode, last_line(result.stdout)), result.stdout
        )
        counts = {path.suffix: path.read_text() for path in self.tree.glob("count.*")}
        self.assertEqual(
            {".test_b_fails_once": "2", ".test_c_crashes_once": "2", ".test_d_fails_then_skips": "3"}
            | {".test_e_always_fails": "3", ".test_f_passes": "1"},
            counts,
        )
        self.assertEqual(["test_d_fails_then_skips", "test_e_always_fails"], self.failed_in_table(result.stdout))

    def test_without_retries_nothing_runs_twice_and_a_crash_costs_one_test(self) -> None:
        self.sample("test_x", FLAKY)
        result = self.run_test()
        self.assertEqual((1, "2 passed, 4 failed, 0 skipped"), (result.returncode, last_line(result.stdout)))
        self.assertEqual({"1"}, {path.read_text() for path in self.tree.glob("count.*")})

    def failed_in_table(self, output: str) -> list[str]:
        return re.findall(
            r"(?m)^(?!FLAKY)[A-Z ]+  test_x::SampleTest\.(\w+)", re.split(r"(?m)^test_x  .*s$", output)[-1]
        )


if __name__ == "__main__":
    run_tests()
