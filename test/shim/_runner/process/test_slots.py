"""Rank slots and accelerators, which files share while they run."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.cli.options import Options
from torch_testing_shim._runner.plan.selection import FileSelection
from torch_testing_shim._runner.process.file_life import FileLife
from torch_testing_shim._runner.process.retry import RunKind, RunOrder
from torch_testing_shim._runner.process.slots import Budget, Lease, StartRules, slot_count
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given


class BudgetTest(TestCase):
    def test_two_files_of_4_ranks_run_on_two_cores_and_a_third_waits(self) -> None:
        budget = Budget(slot_count(jobs=10, cores=2))
        first, second = budget.take(4), budget.take(4)
        assert first is not None and second is not None
        self.assertIsNone(budget.take(4))
        self.assertIsNotNone(budget.take(1))
        budget.give_back(first)
        self.assertIsNotNone(budget.take(4))

    def test_every_job_has_a_slot(self) -> None:
        self.assertEqual((8, 16, 4), (slot_count(2, 2), slot_count(16, 2), slot_count(1, 1)))

    def test_what_is_larger_than_all_runs_alone(self) -> None:
        budget = Budget(8)
        large = budget.take(64)
        assert large is not None
        self.assertIsNone(budget.take(1))
        budget.give_back(large)
        self.assertIsNotNone(budget.take(8))

    def test_accelerators_are_told_by_their_indices(self) -> None:
        budget = Budget(16, devices=4)
        one, two = budget.take(1), budget.take(2)
        assert one is not None and two is not None
        self.assertEqual(({"TORCH_TESTING_SHIM_DEVICE_INDICES": "0"}, (1, 2)), (one.variables, two.devices))
        self.assertIsNone(budget.take(4))
        self.assertEqual({}, Lease(3).variables)

    def test_a_file_that_uses_no_accelerator_leaves_them_to_others(self) -> None:
        budget = Budget(16, devices=1)
        using, other = budget.take(4), budget.take(4, uses_devices=False)
        assert using is not None and other is not None
        self.assertEqual(({}, (0,), None), (other.variables, using.devices, budget.take(1)))
        budget.give_back(other)
        self.assertIsNone(budget.take(1))

    @given(st.integers(1, 12), st.integers(0, 6), st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=30))
    def test_leases_never_meet_and_all_comes_back(
        self, slots: int, devices: int, steps: list[tuple[int, bool]]
    ) -> None:
        budget, held = Budget(slots, devices), list[Lease]()
        for ranks, gives_back in steps:
            if gives_back and held:
                budget.give_back(held.pop(0))
            elif (lease := budget.take(ranks)) is not None:
                held.append(lease)
            leased = [index for lease in held for index in lease.devices or ()]
            self.assertEqual(len(leased), len(set(leased)))
            self.assertLessEqual(sum(lease.slots for lease in held), slots)
            self.assertTrue(held or budget.take(ranks) is not None, "a file that nothing else runs beside has to start")
            held = held or []
            if not held:
                budget = Budget(slots, devices)


FILE = FileSelection("test_x")


class StartRulesTest(TestCase):
    def forbidden(
        self,
        rules: StartRules,
        kind: RunKind,
        options: Options | None = None,
        *,
        has_started: bool = False,
        number: int = 1,
        is_stopped: bool = False,
    ) -> bool:
        file = FileLife(FILE, options or Options())
        for _ in range(number):
            file.begin()
        file.has_started = has_started
        return rules.forbid(RunOrder(kind, FILE, number), file, is_stopped=is_stopped)

    def test_all_may_start_as_long_as_nothing_speaks_against_it(self) -> None:
        rules = StartRules(Options(), {})
        for kind in RunKind:
            self.assertFalse(self.forbidden(rules, kind), kind)

    def test_nothing_starts_once_the_user_has_stopped_the_run(self) -> None:
        rules = StartRules(Options(keep_going=True), {})
        for kind in RunKind:
            self.assertTrue(self.forbidden(rules, kind, has_started=True, is_stopped=True), kind)
        self.assertFalse(rules.is_late)

    def test_after_a_failure_no_new_file_starts_but_what_has_started_is_finished(self) -> None:
        rules = StartRules(Options(), {})
        rules.has_failed = True
        self.assertTrue(self.forbidden(rules, RunKind.FIRST))
        self.assertTrue(self.forbidden(rules, RunKind.FIRST, has_started=True, number=2), "its next repetition")
        for kind in (RunKind.RESUME, RunKind.RETRY):
            self.assertFalse(self.forbidden(rules, kind, has_started=True), kind)
        going_on = StartRules(Options(keep_going=True), {})
        going_on.has_failed = True
        self.assertFalse(self.forbidden(going_on, RunKind.FIRST))

    def test_a_file_that_would_end_after_the_deadline_does_not_start(self) -> None:
        rules = StartRules(Options(deadline=1000.0), {"test_x": 999.0})
        self.assertFalse(self.forbidden(rules, RunKind.FIRST))
        self.assertFalse(rules.is_late)
        rules = StartRules(Options(deadline=1000.0), {"test_x": 1001.0})
        self.assertTrue(self.forbidden(rules, RunKind.FIRST))
        self.assertTrue(rules.is_late)

    def test_a_file_of_unknown_length_may_take_any_time_and_so_may_the_rest_of_one(self) -> None:
        rules = StartRules(Options(deadline=0.9), {"test_x": 1000.0})
        self.assertFalse(self.forbidden(rules, RunKind.RETRY, has_started=True))
        self.assertFalse(self.forbidden(StartRules(Options(deadline=0.9), {}), RunKind.FIRST))

    def test_after_the_deadline_the_rest_of_a_file_runs_and_no_test_again(self) -> None:
        rules = StartRules(Options(deadline=0.0), {})
        self.assertFalse(self.forbidden(rules, RunKind.RESUME, has_started=True))
        self.assertTrue(self.forbidden(rules, RunKind.RETRY, has_started=True))
        self.assertFalse(rules.is_late, "every file has started")


if __name__ == "__main__":
    run_tests()
