"""The benchmark's pure parts: what counts as passed, the translation of a case, medians, ratios, targets, the table."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from bench import journal
from bench.measure import Run, find_problem
from bench.plan import CONTENDERS, TINY, Case, select_cases
from bench.report import CaseResult, as_data, check_targets, ratio
from bench.table import format_report
from bench.translate import translate


def timed(part: str, tests: int, ranks: int, **seconds: list[float]) -> CaseResult:
    runs = {name: [Run(s) for s in of_name] for name, of_name in seconds.items()}
    return CaseResult(Case(f"{part} {tests} x {ranks}", part, TINY, tests, ranks), runs)


class FindProblemTest(TestCase):
    CASE = Case("sample", "tiny", TINY, tests=2, ranks=2)
    ALL = frozenset({("test_a", 0), ("test_a", 1), ("test_b", 0), ("test_b", 1)})

    def problem(self, status: int = 0, output: str = "Ran 2 tests in 1s\n\nOK\n", finished: Any = ALL) -> str:
        return find_problem(self.CASE, status, output, set(finished))

    def test_all_passed(self) -> None:
        self.assertEqual("", self.problem())

    def test_each_thing_that_can_be_wrong(self) -> None:
        self.assertEqual("exit status -9", self.problem(status=-9))
        self.assertEqual("ran 1 tests instead of 2", self.problem(output="Ran 1 test in 1s\n\nOK\n"))
        self.assertEqual("ran an unknown number of tests instead of 2", self.problem(output="OK\n"))
        self.assertEqual("did not report a plain OK", self.problem(output="Ran 2 tests in 1s\n\nOK (skipped=1)\n"))
        missing_rank = self.ALL - {("test_b", 1)}
        self.assertEqual("3 bodies came to their end instead of 2 tests x 2 ranks", self.problem(finished=missing_rank))
        wrong_rank = missing_rank | {("test_b", 7)}
        self.assertIn("bodies came to their end", self.problem(finished=wrong_rank))


class JournalTest(TestCase):
    def test_what_100_tests_cost_is_told_in_one_line(self) -> None:
        with redirect_stdout(io.StringIO()) as printed:
            self.assertEqual(0, journal.main(["100"]), printed.getvalue())
        line = r"100 tests cost the runner -?[\d.]+ s of its processor time, beside [\d.]+ s for one\n"
        self.assertRegex(printed.getvalue(), f"^{line}$")


class TranslateTest(TestCase):
    def test_only_harness_names_move_and_each_test_ends_with_a_sentinel(self) -> None:
        source = (
            '"""Doc."""\nfrom __future__ import annotations\nimport torch\n'
            "from torch_testing_shim.common_utils import run_tests, something_else as other\n"
            "class C:\n    def helper(self):\n        return 1\n    def test_x(self):\n        self.helper()\n"
        )
        self.assertExpectedInline(
            translate(source, {"run_tests": "bench.bare"}, ("torch._dynamo",)),
            '''\
"""Doc."""
from __future__ import annotations
from bench import sentinel
import torch._dynamo
import torch
from bench.bare import run_tests
from torch_testing_shim.common_utils import something_else as other

class C:

    def helper(self):
        return 1

    def test_x(self):
        self.helper()
        sentinel.leave(self)
''',
        )


class ReportTest(TestCase):
    def test_medians_and_ratios(self) -> None:
        result = timed("tiny", 20, 4, floor=[2.0, 9.0, 1.0], ours=[3.0, 2.0, 5.0])
        self.assertEqual(
            (2.0, 3.0, 1.5), (result.median("floor"), result.median("ours"), ratio(result, "ours", "floor"))
        )

    def test_one_failed_run_takes_the_time_away(self) -> None:
        result = CaseResult(
            timed("tiny", 20, 4).case, {"floor": [Run(1.0)], "ours": [Run(1.0), Run(0.1, "exit status 1")]}
        )
        self.assertEqual((None, None), (result.median("ours"), ratio(result, "ours", "floor")))

    def test_targets(self) -> None:
        results = [
            timed("ported", 2, 4, floor=[2.0], ours=[2.5], upstream=[9.0]),
            timed("tiny", 20, 4, floor=[2.0], ours=[2.6], upstream=[78.0], continuous=[10.4], reused=[2.0]),
            timed("growth", 6, 4, ours=[2.0], reused=[2.0]),
            timed("growth", 16, 4, ours=[2.5], reused=[2.1]),
            timed("growth", 1, 64, floor=[3.0], ours=[3.1]),
        ]
        verdicts = [target.verdict for target in check_targets(results, quick=False)]
        self.assertEqual(["met", "MISSED", "MISSED", "met", "met", "met", "MISSED", "MISSED", "met", "met"], verdicts)
        self.assertEqual({"not measured"}, {target.verdict for target in check_targets(results, quick=True)})

    def test_64_ranks_that_fail_or_did_not_run_miss_the_target(self) -> None:
        case = timed("growth", 1, 64).case
        failed = CaseResult(case, {"ours": [Run(1.0, "exit status 1")]})
        absent = CaseResult(case, {"floor": [Run(1.0)]})
        self.assertEqual("MISSED", check_targets([failed], quick=False)[-1].verdict)
        self.assertEqual("not measured", check_targets([absent], quick=False)[-1].verdict)

    def test_growth_is_the_cost_of_one_more_test(self) -> None:
        results = [timed("growth", 6, 16, floor=[4.0]), timed("growth", 1, 16, floor=[2.0])]
        rows = as_data({}, results, {}, [])["seconds_per_further_test"]
        self.assertEqual([{"ranks": 16, "from_tests": 1, "to_tests": 6, "floor": 0.4}], rows)

    def test_table_shows_a_failure_as_such(self) -> None:
        case = Case("tiny", "tiny", TINY, tests=20, ranks=4)
        runs = {
            "floor": [Run(2.0), Run(2.2)],
            "ours": [Run(2.31), Run(2.31)],
            "upstream": [Run(0.5, "exit status 1", "boom")],
        }
        results = [CaseResult(case, runs)]
        targets = check_targets(results, quick=False)[:1]
        self.assertExpectedInline(
            format_report(as_data({"cores": 2}, results, {}, targets)),
            """\
cores: 2

whole process  contender  median s  runs s     x floor  x ours
tiny           floor      2.10      2.00 2.20  -        -
tiny           ours       2.31      2.31 2.31  1.10     -
tiny           upstream   FAILED

target                     limit    measured
ported test: ours / floor  <= 1.25  -         not measured

tiny, upstream: exit status 1
boom""",
        )


class PlanTest(TestCase):
    def test_full_run_measures_what_the_targets_need(self) -> None:
        everyone = tuple(contender.name for contender in CONTENDERS)
        ported, tiny = select_cases(("ported", "tiny"), quick=False)
        self.assertEqual((2, 4, everyone), (ported.tests, ported.ranks, ported.contenders))
        self.assertEqual((20, 4, everyone), (tiny.tests, tiny.ranks, tiny.contenders))
        growth = select_cases(("growth",), quick=False)
        self.assertEqual({2, 4, 16, 64}, {case.ranks for case in growth})
        self.assertEqual({("floor", "ours", "reused")}, {case.contenders for case in growth})


if __name__ == "__main__":
    run_tests()
