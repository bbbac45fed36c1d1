"""Changes of `--update-expectations` after a run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.expectations.changes import RunContext, cause_as_regex, changes_after
from torch_testing_shim._runner.expectations.unmatched import Listed
from torch_testing_shim._runner.result import FileResult
from torch_testing_shim._shared.expectations import Expectation, Expectations
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from expectation_samples import ERROR, FAILED, FLAKY, SKIP, SKIPPED, crash, expectation, ran, result
from properties import given

WHOLE = Listed(("test_x",), frozenset({"test_x"}), True)
PART = Listed(("test_x",))
BAD = ran("A.a", FAILED, "rank 1 failed: AssertionError: 1 != 2")


class ChangesTest(TestCase):
    def changes(
        self,
        *entries: Expectation,
        after: FileResult,
        listed: Listed = WHOLE,
        unmatched: tuple[Expectation, ...] = (),
        others: tuple[Expectation, ...] = (),
    ) -> list[str]:
        """The changes, in words; `others` do not hold with this version of torch."""
        context = RunContext("2026-01-02", "2.13.0a0+cpu")
        every = (*entries, *others)
        return [*map(str, changes_after(every, Expectations(entries), [after], unmatched, listed, context))]

    def test_each_thing_that_can_happen(self) -> None:
        told = self.changes(
            expectation("test_x::A.known", error="no"),
            expectation("test_x::A.passes"),
            expectation("test_x::A.other", error="no"),
            expectation("test_x::A.gone"),
            expectation("test_x::B.*", error="no"),
            after=result(
                BAD,
                ran("A.known", ERROR, "no"),
                ran("A.passes"),
                ran("A.other", ERROR, "OSError: yes"),
                ran("B.b", ERROR, "OSError: (b)"),
                ran("B.c"),
            ),
            unmatched=(expectation("test_x::A.gone"),),
        )
        self.assertExpectedInline(
            "\n".join(told),
            """\
removed test_x::A.passes: it passed
changed the error of test_x::A.other to 'OSError: yes'
removed test_x::A.gone: it matches no test
added test_x::A.a: AssertionError: 1 != 2
added test_x::B.b: OSError: \\(b\\)""",
        )

    def test_what_a_new_entry_says(self) -> None:
        context = RunContext("2026-01-02", "2.13.0+cpu")
        (change,) = changes_after((), Expectations(), [result(BAD, device="npu")], (), WHOLE, context)
        new = expectation(
            "test_x::A.a",
            reason="failed on 2026-01-02, torch 2.13.0+cpu",
            devices=("npu",),
            error="AssertionError: 1 != 2",
        )
        self.assertEqual(new, change.new)

    def test_a_test_without_a_verdict_changes_nothing(self) -> None:
        both = expectation("test_x::A.a", error="no"), expectation("test_x::A.b")
        self.assertEqual([], self.changes(*both, after=result(faults=(crash("A.a"), crash("A.b"), crash("A.c")))))
        self.assertEqual([], self.changes(*both, after=result(BAD, ran("A.b"), is_stopped=True)))
        self.assertEqual([], self.changes(after=result(BAD, faults=(crash("A.a"),))))

    def test_what_failed_and_then_passed_changes_nothing(self) -> None:
        known = expectation("test_x::A.a")
        self.assertEqual([], self.changes(known, after=result(ran("A.a"), ran("A.a", FAILED, "why"))))
        self.assertEqual([], self.changes(after=result(BAD, reruns=(ran("A.a"),))))
        self.assertEqual([], self.changes(known, after=result(ran("A.a", SKIPPED))))

    def test_entries_that_an_xfail_cannot_stand_for_stay(self) -> None:
        self.assertEqual([], self.changes(expectation("test_x::A.a", FLAKY), after=result(BAD)))
        self.assertEqual([], self.changes(expectation("test_x::*", SKIP), after=result(BAD)))
        self.assertEqual([], self.changes(after=result(ran("A.a", TestStatus.UNEXPECTED_SUCCESS, "passed"))))
        added = self.changes(expectation("test_x::*", FLAKY), after=result(BAD))
        self.assertEqual(["added test_x::A.a: AssertionError: 1 != 2"], added)

    def test_a_glob_goes_where_all_of_its_tests_have_passed_and_the_run_has_listed_them(self) -> None:
        glob = expectation("test_x::A.*")
        self.assertEqual(["removed test_x::A.*: it passed"], self.changes(glob, after=result(ran("A.a"), ran("A.b"))))
        self.assertEqual([], self.changes(glob, after=result(ran("A.a"), ran("A.b")), listed=PART))
        self.assertEqual([], self.changes(glob, after=result(ran("A.a"), ran("A.b", FAILED, "why"))))
        exact = expectation("test_x::A.a")
        self.assertEqual(["removed test_x::A.a: it passed"], self.changes(exact, after=result(ran("A.a")), listed=PART))

    def test_a_new_entry_and_one_for_other_versions_can_stand_together(self) -> None:
        old = expectation("test_x::A.a", torch="<2.6")
        (change,) = changes_after((old,), Expectations(), [result(BAD)], (), WHOLE, RunContext("", "2.13.0a0+cpu"))
        self.assertEqual("==2.13.0", change.new.torch)
        self.assertEqual(1, len(self.changes(after=result(BAD), others=(old,))))
        elsewhere = expectation("test_x::A.a", devices=("npu",))
        (change,) = changes_after((elsewhere,), Expectations((elsewhere,)), [result(BAD)], (), WHOLE, RunContext(""))
        self.assertEqual((("cpu",), ""), (change.new.devices, change.new.torch))


class NamedCauseTest(TestCase):
    def test_what_is_chance_is_left_open(self) -> None:
        for reason, again in (
            ("rank 1 errored: RuntimeError: no (b)", "rank 0 errored: RuntimeError: no (b)"),
            ("rank 1 (pid 23) died: SIGSEGV", "rank 1 (pid 4711) died: SIGSEGV"),
            ("OSError: no <X at 0x7f12ab34cd56>", "OSError: no <X at 0x7f99ab34cd00>"),
            ("OSError: [Errno 2] No: '/tmp/a1/b c'", "OSError: [Errno 2] No: '/tmp/z9/b c'"),
        ):
            regex = cause_as_regex(reason)
            self.assertRegex(reason, regex)
            self.assertRegex(again, regex)
            self.assertNotRegex(f"another {reason[-3:]}", regex)

    def test_it_is_easy_to_read(self) -> None:
        self.assertEqual(
            "not implemented for 'BFloat16', and so on", cause_as_regex("not implemented for 'BFloat16', and so on")
        )
        self.assertEqual("", cause_as_regex(""))

    @given(st.text(max_size=400))
    def test_it_is_found_in_the_reason(self, reason: str) -> None:
        self.assertIsNotNone(re.search(cause_as_regex(reason), reason))


if __name__ == "__main__":
    run_tests()
