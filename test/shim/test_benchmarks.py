"""The benchmark: a contender's time counts only where every rank ran every test; no speed is asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from torch_testing_shim.common_utils import TestCase, run_tests

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "test" / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import bench_harness  # noqa: E402

from bench.measure import Run, find_problem, run_case  # noqa: E402
from bench.plan import CONTENDERS, TINY, Case, select_cases  # noqa: E402
from bench.report import CaseResult, as_data, check_targets, ratio  # noqa: E402
from bench.table import format_report  # noqa: E402
from bench.translate import translate  # noqa: E402

FLOOR, OURS = CONTENDERS[:2]
SAMPLE = """
import os
from torch_testing_shim.common_utils import run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

class SampleTest(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_sample(self):
        {body}

if __name__ == "__main__":
    run_tests()
"""


def sample_case(folder: str, body: str) -> Case:
    path = Path(folder) / "sample.py"
    path.write_text(SAMPLE.format(body=body))
    return Case("sample", "tiny", path, tests=1, ranks=2, contenders=("floor",))


def timed(part: str, tests: int, ranks: int, **seconds: list[float]) -> CaseResult:
    runs = {name: [Run(s) for s in of_name] for name, of_name in seconds.items()}
    return CaseResult(Case(f"{part} {tests} x {ranks}", part, TINY, tests, ranks), runs)


class CommandTest(TestCase):
    def run_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(BENCHMARKS / "bench_harness.py"), *arguments]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)

    def test_quick_run_of_floor_and_ours(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "results.json"
            arguments = ["--quick", "--parts", "tiny", "memory", "--contenders", "floor", "ours", "--json", str(path)]
            result = self.run_command(*arguments)
            self.assertEqual(0, result.returncode, result.stdout + result.stderr)
            data = json.loads(path.read_text())
        self.assertEqual({"machine", "cases", "seconds_per_further_test", "idle_memory", "targets"}, set(data))
        (case,) = data["cases"]
        self.assertEqual(["floor", "ours"], sorted(case["contenders"]))
        for contender in case["contenders"].values():
            self.assertEqual("passed", contender["status"])
            self.assertGreater(contender["median"], 0)
        expected = case["contenders"]["ours"]["median"] / case["contenders"]["floor"]["median"]
        self.assertAlmostEqual(expected, case["ratios"]["ours/floor"])
        self.check_memory(data["idle_memory"])
        self.assertEqual({"not measured"}, {target["verdict"] for target in data["targets"]})

    def check_memory(self, memory: dict[str, list[dict[str, Any]]]) -> None:
        self.assertEqual(["floor", "ours"], sorted(memory))
        for (one,) in memory.values():
            self.assertEqual((4, ""), (one["ranks"], one["problem"]))
            self.assertGreater(one["rank_private_mib"], 0)
            self.assertGreater(one["rank_pss_mib"], one["rank_private_mib"])
            self.assertGreater(one["total_pss_mib"], 4 * one["rank_pss_mib"])

    def test_wrong_usage(self) -> None:
        for arguments in (["--repeats", "0"], ["--contenders", "nobody"], ["--json", "/no/such/folder/x.json"]):
            result = self.run_command(*arguments)
            self.assertEqual((2, ""), (result.returncode, result.stdout))
            self.assertNotIn("Traceback", result.stderr)


class FailingContenderTest(TestCase):
    def measure(self, body: str) -> CaseResult:
        options = bench_harness.parse_options(["--contenders", "floor", "--repeats", "2"])
        with tempfile.TemporaryDirectory() as folder:
            return bench_harness.measure_case(sample_case(folder, body), options)

    def test_one_failing_rank_is_a_failure_and_has_no_time(self) -> None:
        result = self.measure("self.assertEqual(0, self.rank)")
        (case,) = as_data({}, [result], {}, [])["cases"]
        floor = case["contenders"]["floor"]
        self.assertEqual(("failed", [], None), (floor["status"], floor["seconds"], floor["median"]))
        self.assertEqual("exit status 1", floor["problem"])
        self.assertIn("AssertionError", floor["tail"])

    def test_a_rank_that_leaves_early_is_a_failure_though_the_harness_says_ok(self) -> None:
        result = self.measure("os._exit(0)")
        self.assertEqual("0 bodies came to their end instead of 1 tests x 2 ranks", result.problem("floor"))

    def test_a_hang_ends_at_the_limit(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            case = sample_case(folder, "__import__('time').sleep(600)")
            run = run_case(case, FLOOR, limit_seconds=2.0)
        self.assertEqual("did not end within 2 s", run.problem)


class FloorTest(TestCase):
    """The floor pays for nothing that a case does not need: a floor that is too high would flatter every contender."""

    def run_on_floor(self, body: str) -> Run:
        with tempfile.TemporaryDirectory() as folder:
            return run_case(sample_case(folder, body), FLOOR)

    def test_ranks_import_nothing(self) -> None:
        checks = (
            "import sys, torch; before = set(sys.modules)",
            "self.assertEqual(torch.ones(2), torch.ones(2)); self.assertEqual({1: 2}, {1: 2})",
            "self.assertEqual(set(), set(sys.modules) - before)",
        )
        run = self.run_on_floor("; ".join(checks))
        self.assertEqual("", run.problem, run.tail)

    def test_a_case_brings_its_own_imports(self) -> None:
        run = self.run_on_floor("import sys; self.assertNotIn('torch.distributed.tensor', sys.modules)")
        self.assertEqual("", run.problem, run.tail)

    def test_tensors_that_differ_are_not_equal(self) -> None:
        others = ("torch.zeros(2)", "torch.ones(3)", "torch.ones(2, dtype=torch.int64)")
        body = (
            f"import torch\n        for other in [{', '.join(others)}]:\n"
            "            with self.assertRaises(AssertionError):\n"
            "                self.assertEqual(torch.ones(2), other)"
        )
        run = self.run_on_floor(body)
        self.assertEqual("", run.problem, run.tail)

    def test_every_contender_draws_the_same_numbers(self) -> None:
        body = "import torch; self.assertEqual(0.0290, round(torch.rand(1).item(), 4))"
        with tempfile.TemporaryDirectory() as folder:
            case = sample_case(folder, body)
            runs = {contender.name: run_case(case, contender) for contender in (FLOOR, OURS)}
        self.assertEqual({"floor": "", "ours": ""}, {name: run.problem for name, run in runs.items()})


class SurroundingsTest(TestCase):
    def test_tests_of_a_contender_do_not_enter_the_journal_of_the_run_around_it(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            journal = Path(folder) / "journal"
            with mock.patch.dict(os.environ, {"TORCH_TESTING_SHIM_JOURNAL": str(journal)}):
                run = run_case(sample_case(folder, "pass"), OURS)
            self.assertEqual(("", False), (run.problem, journal.exists()), run.tail)


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
            timed("tiny", 20, 4, floor=[2.0], ours=[2.6], upstream=[78.0], continuous=[10.4]),
            timed("growth", 1, 64, floor=[3.0], ours=[3.1]),
        ]
        verdicts = [target.verdict for target in check_targets(results, quick=False)]
        self.assertEqual(["met", "MISSED", "MISSED", "met", "met", "met"], verdicts)
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
        self.assertEqual({("floor", "ours")}, {case.contenders for case in growth})


if __name__ == "__main__":
    run_tests()
