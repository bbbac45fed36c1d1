"""The benchmark: a contender's time counts only where every rank ran every test; no speed is asserted."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from torch_testing_shim.common_utils import TestCase, run_tests

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "test" / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import bench_harness  # noqa: E402
import bench_pytest  # noqa: E402
from bench.measure import Run, run_case  # noqa: E402
from bench.plan import CONTENDERS, Case  # noqa: E402
from bench.report import CaseResult, as_data  # noqa: E402

FLOOR, OURS = CONTENDERS[:2]
SAMPLE = """
import os
from torch_testing_shim.common_utils import run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase

class SampleTest(DTensorTestBase):
    world_size = 2

    def test_sample(self):
        {body}


if __name__ == "__main__":
    run_tests()
"""


def sample_case(folder: str, body: str) -> Case:
    path = Path(folder) / "sample.py"
    path.write_text(SAMPLE.format(body=body))
    return Case("sample", "tiny", path, tests=1, ranks=2, contenders=("floor",))


def check_refused(test: TestCase, main: Callable[[list[str]], int], arguments: list[str], message: str) -> None:
    """A command ends with status 2 and one sentence before it has measured anything."""
    with contextlib.redirect_stderr(io.StringIO()) as errors, test.assertRaises(SystemExit) as ended:
        main(arguments)
    test.assertEqual(2, ended.exception.code)
    test.assertIn(message, errors.getvalue())


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
        measured = {"seconds_per_further_test", "milliseconds_after_a_reused_test", "idle_memory"}
        self.assertEqual({"machine", "cases", "targets"} | measured, set(data))
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
        for arguments, message in (
            (["--repeats", "0"], "--repeats: '0' is not a whole number from 1"),
            (["--contenders", "nobody"], "invalid choice: 'nobody'"),
            (["--json", "/no/such/folder/x.json"], "--json: there is no folder /no/such/folder"),
        ):
            check_refused(self, bench_harness.main, arguments, message)


class PytestTest(TestCase):
    """`bench_pytest.py`."""

    def run_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(BENCHMARKS / "bench_pytest.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=240)

    def test_quick_run_of_floor_and_ours(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "results.json"
            result = self.run_command("--quick", "--ways", "floor", "ours", "--json", str(path))
            self.assertEqual(0, result.returncode, result.stdout + result.stderr)
            data = json.loads(path.read_text())
        floor, ours = (data["runs"][name][0]["seconds"] for name in ("floor", "ours"))
        self.assertGreater(floor, 0)
        self.assertAlmostEqual(ours / floor, data["ratios"]["ours"]["floor"])
        self.assertRegex(result.stdout, r"(?m)^ours / floor: [0-9.]+ \(at most 1\.25\): not measured$")

    def test_wrong_usage(self) -> None:
        check_refused(self, bench_pytest.main, ["--repeats", "0"], "--repeats: '0' is not a whole number from 1")

    def test_a_test_that_no_rank_has_finished_has_no_time(self) -> None:
        ended = mock.patch.object(bench_pytest, "timed", return_value=Run(1.0))
        with ended, mock.patch.object(bench_pytest.sentinel, "found", return_value=set()):
            run = bench_pytest.by_pytest("ours", *bench_pytest.PLUGIN)(bench_pytest.Sizes(tests=1, ranks=2))
        self.assertEqual("0 bodies came to their end instead of 2", run.problem, run.tail)


class FailingContenderTest(TestCase):
    def measure(self, body: str) -> CaseResult:
        options = bench_harness.parse_options(["--contenders", "floor", "--repeats", "1"])
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
            run = run_case(case, FLOOR, limit_seconds=0.5)
        self.assertEqual("did not end within 0.5 s", run.problem)


class FloorTest(TestCase):
    """The floor pays for nothing that a case does not need: a floor that is too high would flatter every contender."""

    #: A case's own imports come after the check that nobody else has.
    body = """
        import sys
        self.assertNotIn("torch.distributed.tensor", sys.modules)
        import torch
        before = set(sys.modules)
        self.assertEqual(torch.ones(2), torch.ones(2))
        self.assertEqual({1: 2}, {1: 2})
        self.assertEqual(set(), set(sys.modules) - before)
        for other in (torch.zeros(2), torch.ones(3), torch.ones(2, dtype=torch.int64)):
            with self.assertRaises(AssertionError):
                self.assertEqual(torch.ones(2), other)
    """

    def test_ranks_import_nothing_and_tensors_that_differ_are_not_equal(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            run = run_case(sample_case(folder, self.body.strip()), FLOOR)
        self.assertEqual("", run.problem, run.tail)

    def test_every_contender_draws_the_same_numbers_and_leaves_the_journal_of_the_run_around_it_alone(self) -> None:
        body = "import torch; self.assertEqual(0.0290, round(torch.rand(1).item(), 4))"
        with tempfile.TemporaryDirectory() as folder:
            journal = Path(folder) / "journal"
            case = sample_case(folder, body)
            with mock.patch.dict(os.environ, {"TORCH_TESTING_SHIM_JOURNAL": str(journal)}):
                runs = {contender.name: run_case(case, contender) for contender in (FLOOR, OURS)}
            self.assertFalse(journal.exists())
        self.assertEqual({"floor": "", "ours": ""}, {name: run.problem for name, run in runs.items()})


class JoinedRanksTest(TestCase):
    def test_ranks_of_one_machine(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "results.json"
            words = ["--ranks", "2", "--tests", "1", "--json", str(path)]
            command = [sys.executable, str(BENCHMARKS / "bench_ranks.py"), *words]
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
            self.assertEqual(0, result.returncode, result.stdout + result.stderr)
            (measured,) = json.loads(path.read_text())
        self.assertEqual((2, True), (measured["ranks"], measured["passed"]))
        for amount in ("seconds", "calls", "characters", "processor_seconds"):
            self.assertGreater(measured[amount], 0, amount)


if __name__ == "__main__":
    run_tests()
