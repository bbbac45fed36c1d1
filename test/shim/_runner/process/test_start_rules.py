"""Which processes may not start any more, for every kind of process and every reason."""

from __future__ import annotations

from torch_testing_shim._runner.cli.options import Options
from torch_testing_shim._runner.plan.selection import FileSelection
from torch_testing_shim._runner.process.file_life import FileLife
from torch_testing_shim._runner.process.retry import RunKind, RunOrder
from torch_testing_shim._runner.process.start_rules import StartRules
from torch_testing_shim.common_utils import TestCase, run_tests

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
        for kind in (RunKind.REST, RunKind.AGAIN):
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

    def test_after_the_deadline_the_rest_of_a_file_runs_and_no_test_again(self) -> None:
        rules = StartRules(Options(deadline=0.0), {})
        self.assertFalse(self.forbidden(rules, RunKind.REST, has_started=True))
        self.assertTrue(self.forbidden(rules, RunKind.AGAIN, has_started=True))
        self.assertFalse(rules.is_late, "every file has started")


if __name__ == "__main__":
    run_tests()
