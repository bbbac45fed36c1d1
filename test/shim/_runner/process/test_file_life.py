"""A file's processes, from the first order to the result: the rest of a dead one, tests again, parts, repetitions."""

from __future__ import annotations

import signal

from torch_testing_shim._runner.cli.arguments import parse_options
from torch_testing_shim._runner.plan.selection import FileSelection
from torch_testing_shim._runner.process.file_life import FileLife
from torch_testing_shim._runner.process.retry import FinishedRun, RunKind, RunOrder
from torch_testing_shim._runner.result import FileEnding
from torch_testing_shim._shared.journal import JournalContents, JournalEntry, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

PASS, FAIL = TestStatus.PASSED, TestStatus.FAILED
TESTS = ("A.a", "A.b", "B.a")


def life(*options: str, parts: int = 1) -> FileLife:
    return FileLife(FileSelection("test_x"), parse_options(options), parts, {"A.a": 30.0, "B.a": 30.0})


def ran(
    order: RunOrder, *, exit_code: int = 0, dies_in: str = "", planned: tuple[str, ...] = TESTS, **statuses: TestStatus
):
    """The end of the order's process; keywords name tests by class and method, "A_a"."""
    seen = {name.replace("_", "."): status for name, status in statuses.items()}
    entries = tuple(JournalEntry(test, status, 0.1) for test, status in seen.items())
    contents = JournalContents(
        order.selection.tests or planned, entries, (dies_in,) if dies_in else (), is_finished=not dies_in
    )
    return FinishedRun(order, FileEnding("test_x", exit_code, 1.0), contents)


class Lives(TestCase):
    def test_one_process_is_all_of_it(self) -> None:
        file = life()
        (order,) = file.begin()
        self.assertEqual((RunKind.FIRST, False, True), (order.kind, file.is_between, file.is_waiting))
        self.assertEqual([], file.take(ran(order, A_a=PASS, A_b=PASS, B_a=PASS)))
        self.assertEqual((True, False), (file.is_between, file.is_waiting))
        self.assertEqual(3, file.end().passed)

    def test_after_a_crash_the_rest_runs_and_then_the_test_again(self) -> None:
        file = life("--retries", "1")
        (first,) = file.begin()
        orders = file.take(ran(first, exit_code=-signal.SIGKILL, dies_in="A.b", A_a=PASS))
        self.assertEqual([RunKind.RESUME, RunKind.RETRY], [order.kind for order in orders])
        self.assertEqual([("B.a",), ("A.b",)], [order.selection.tests for order in orders])
        self.assertEqual([], file.take(ran(orders[0], B_a=PASS)))
        self.assertFalse(file.is_between)
        self.assertEqual([], file.take(ran(orders[1], A_b=PASS)))
        self.assertTrue(file.is_between)
        result = file.end()
        self.assertEqual((["A.b"], []), ([flaky.test for flaky in result.flaky], list(result.failures)))

    def test_a_failed_test_runs_again_until_it_passes_or_the_retries_are_used_up(self) -> None:
        file = life("--retries", "2")
        (order,) = file.begin()
        (again,) = file.take(ran(order, exit_code=1, A_a=FAIL, A_b=PASS, B_a=PASS))
        (once_more,) = file.take(ran(again, A_a=FAIL))
        self.assertEqual([1, 2], [again.attempt, once_more.attempt])
        self.assertEqual([], file.take(ran(once_more, A_a=FAIL)))
        self.assertEqual(["A.a"], [failure.test for failure in file.end().failures])

    def test_a_large_file_runs_in_parts_that_are_all_of_it(self) -> None:
        file = life(parts=2)
        (names,) = file.begin()
        self.assertEqual(RunKind.DISCOVER, names.kind)
        orders = file.take(ran(names))
        self.assertEqual([(1, 2), (2, 2)], [(order.part, order.parts) for order in orders])
        self.assertEqual(sorted(TESTS), sorted(test for order in orders for test in order.selection.tests))
        self.assertFalse(file.is_between)

    def test_a_file_that_does_not_tell_its_tests_runs_as_a_whole(self) -> None:
        for names_run in ({"exit_code": 1}, {"planned": ("A.a",)}, {"planned": ()}):
            file = life(parts=2)
            (names,) = file.begin()
            (whole,) = file.take(ran(names, **names_run))
            self.assertEqual((RunKind.FIRST, (), 0), (whole.kind, whole.selection.tests, whole.parts))

    def test_it_repeats_as_often_as_asked_and_not_beyond_a_failure(self) -> None:
        for options, statuses, times in (
            ((), [PASS], 1),
            (("--repeat", "3"), [PASS, FAIL, PASS], 3),
            (("--repeat", "3", "--until-failure"), [PASS, FAIL], 2),
            (("--until-failure",), [PASS, PASS, PASS, FAIL], 4),
        ):
            file, runs = life(*options), 0
            while not runs or file.is_to_repeat:
                (order,) = file.begin()
                file.take(ran(order, planned=("A.a",), A_a=statuses[runs]))
                runs += 1
            self.assertEqual(times, runs, options)

    def test_what_is_not_carried_out_is_waited_for_no_longer_and_not_repeated(self) -> None:
        file = life("--repeat", "2")
        (order,) = file.begin()
        file.drop(order)
        self.assertEqual((True, False), (file.is_between, file.is_to_repeat))
        self.assertIsNone(file.end())


if __name__ == "__main__":
    run_tests()
