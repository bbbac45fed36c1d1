"""`test/gpu/check.py`: its verdicts, its table, and one part of it on a simulated device, the sample backend's.

That it runs on a GPU, nothing here shows.
"""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

import torch
from harness_samples import SampleTestCase
from hypothesis import strategies as st
from properties import given
from test_sample_backend import Package

from torch_testing_shim._engine.devices import accelerator_count
from torch_testing_shim._shared.journal import JournalEntry, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "gpu"))

from gpu_check.expected import NOT_HERE, Expected, row_of
from gpu_check.figures import Figure, rows_of
from gpu_check.leases import Held, met
from gpu_check.machine import Machine
from gpu_check.plan import checks_of
from gpu_check.row import Row, Verdict
from gpu_check.sample_run import ROOT, SampleRun
from gpu_check.samples import Said, SampleCheck
from gpu_check.suite import FILES
from gpu_check.table import format_table

GPU = ROOT / "test" / "gpu"
PASSED, ERROR, SKIPPED = TestStatus.PASSED, TestStatus.ERROR, TestStatus.SKIPPED
OK, FAILED, NOT_TRIED = Verdict.OK, Verdict.FAILED, Verdict.NOT_TRIED


class VerdictsTest(TestCase):
    def test_what_a_test_comes_to(self) -> None:
        dies = Expected("A.a", "dies", (ERROR,), "^rank 1 .*SIGKILL", within=5.0)
        passes = Expected("A.a", "passes")
        marked = Expected("A.a", "shares", note="^shared: 4 ranks")
        for expected, entry, verdict, seen in (
            (passes, JournalEntry("A.a", PASSED, 1.0), OK, "passed"),
            (passes, JournalEntry("A.a", ERROR, 1.0, "rank 0 died"), FAILED, "error: rank 0 died; another outcome"),
            (passes, JournalEntry("A.a", SKIPPED, 1.0, "too few"), FAILED, "skipped: too few; another outcome"),
            (passes, JournalEntry("A.a", SKIPPED, 1.0, f"{NOT_HERE}no such kernel"), NOT_TRIED, "no such kernel"),
            (
                passes,
                JournalEntry("A.a", PASSED, 1.0, notes=("left 2 pipes",)),
                FAILED,
                "passed; it left something behind; left 2 pipes",
            ),
            (dies, JournalEntry("A.a", ERROR, 1.0, "rank 1 died: SIGKILL"), OK, "error: rank 1 died: SIGKILL"),
            (
                dies,
                JournalEntry("A.a", ERROR, 1.0, "rank 0 died: SIGKILL"),
                FAILED,
                "error: rank 0 died: SIGKILL; another reason",
            ),
            (
                dies,
                JournalEntry("A.a", ERROR, 9.0, "rank 1 died: SIGKILL"),
                FAILED,
                "error: rank 1 died: SIGKILL; it took more than 5 s",
            ),
            (
                marked,
                JournalEntry("A.a", PASSED, 1.0, notes=("shared: 4 ranks on 1 x",)),
                OK,
                "passed; shared: 4 ranks on 1 x",
            ),
            (marked, JournalEntry("A.a", PASSED, 1.0), FAILED, "passed; no note says '^shared: 4 ranks'"),
        ):
            with self.subTest(seen):
                row = row_of(expected, entry, "")
                self.assertEqual((verdict, seen), (row.verdict, row.seen))

    def test_a_test_that_never_ended(self) -> None:
        row = row_of(Expected("A.a", "passes"), None, "the last words")
        self.assertEqual((FAILED, "did not run", "the last words"), (row.verdict, row.seen, row.detail))

    def test_what_a_process_says(self) -> None:
        said = Said("how", "spawned, not", False, "spawned", "forked")
        rows = [said.row(SampleRun(0, output, {}, 1.0)) for output in ("fine", "ranks are spawned, not forked")]
        self.assertEqual([("forked", "forked", OK), ("forked", "spawned", FAILED)], [_short(row) for row in rows])

    def test_figures(self) -> None:
        bare, none = Figure(1.0), Figure(None, "Traceback\nRuntimeError: no\nFAILED (errors=1)")
        told = {
            (1.5, bare): ("at most 1.60 s, by the bare loop's", "1.50 s a test", OK),
            (1.7, bare): ("at most 1.60 s, by the bare loop's", "1.70 s a test", FAILED),
            (1.7, none): ("a figure", "1.70 s a test", OK),
            (None, bare): ("at most 1.60 s, by the bare loop's", "it does not run: RuntimeError: no", FAILED),
        }
        for (ours, floor), expected in told.items():
            with self.subTest(ours=ours, floor=floor):
                rows = rows_of(none if ours is None else Figure(ours), floor, none)
                self.assertEqual(expected, _short(rows[0]))
                self.assertEqual(NOT_TRIED, rows[2].verdict)

    @given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(1, 5)), max_size=5))
    def test_devices_that_two_held_at_once(self, drawn: list[tuple[int, int, int]]) -> None:
        held = [Held(index, began, began + seconds) for index, began, seconds in drawn]
        seconds_of = [(one.index, second) for one in held for second in range(int(one.began), int(one.ended))]
        twice = {index for index, second in seconds_of if seconds_of.count((index, second)) > 1}
        self.assertEqual(sorted(twice), met(held))


def _short(row: Row) -> tuple[str, str, Verdict]:
    return row.expected, row.seen, row.verdict


class TableTest(TestCase):
    def test_the_whole_report(self) -> None:
        rows = [
            Row("one rank", "passed", "passed", OK, 1.2),
            Row("a kernel that never ends", "error: rank 1", "error: rank 0; another reason", FAILED, 22.0, "a\nb\n"),
            Row("memory given back", "passed", "it does not say", NOT_TRIED),
            Row("long", "x", "word " * 40, OK, 0.0),
        ]
        self.assertExpectedInline(
            format_table(["1 x H (cuda), torch 2"], rows, 65.2),
            """\
1 x H (cuda), torch 2

what                      expected       seen                                                          s
one rank                  passed         passed                                                        1.2   ok
a kernel that never ends  error: rank 1  error: rank 0; another reason                                 22.0  FAILED
memory given back         passed         it does not say                                                     not tried
long                      x              word word word word word word word word word word word wo...  0.0   ok

FAILED: a kernel that never ends
    a
    b

could not be tried:
    memory given back: it does not say

2 ok, 1 failed, 1 not tried in 65 s""",
        )


class PlanTest(TestCase):
    def test_every_test_of_a_sample_is_expected_and_every_file_is_there(self) -> None:
        checks = [each for each in checks_of(Machine("cuda", 1, "H", "2")) if isinstance(each, SampleCheck)]
        self.assertGreater(len(checks), 5)
        for check in checks:
            source = Path(check.arguments[0]).read_text()
            for expected in check.expected:
                name = expected.test.partition(".")[2].partition("_pass_planner_")[0]
                self.assertRegex(source, rf"\b{name}\b")
        self.assertEqual([], [name for name in FILES if not (ROOT / "test" / f"{name}.py").is_file()])


class CommandTest(SampleTestCase):
    def check(self, *arguments: str, **extra: str):
        return self.run_command(str(GPU / "check.py"), *arguments, **extra)

    def test_without_an_accelerator(self) -> None:
        if accelerator_count():
            self.skipTest("there is one")
        run = self.check()
        said = f"nothing can be tried: torch {torch.__version__} finds no accelerator here\n"
        self.assertEqual((5, said), (run.exit_code, run.output))
        self.assertEqual(2, self.check("--nonsense").exit_code)

    @unittest.skipUnless(hasattr(torch._C, "_acc"), "this torch knows no device that is written in Python")
    def test_a_part_on_a_simulated_device(self) -> None:
        package = Package(self.folder / "site")
        package.site.mkdir()
        package.install()
        run = self.check("--only", "one-rank", PYTHONPATH=package.import_path)
        self.assertEqual(0, run.exit_code, run.output)
        self.assertIn("4 x quartz (quartz), torch ", run.output)
        self.assertRegex(run.output, r"\n5 ok, 0 failed, 0 not tried in \d+ s\n\Z")
        for text in (r"one rank, forked: its own backend +passed +passed ", r"how ranks start +forked +forked "):
            self.assertRegex(run.output, text)
        self.assert_nothing_left()


if __name__ == "__main__":
    run_tests()
