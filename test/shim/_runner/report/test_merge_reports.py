"""Merged reports: one verdict, and what is missing is a failure. The command, too."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.report.json_lines import to_json_lines
from torch_testing_shim._runner.report.merge_reports import missing_shards, one_verdict, read_groups
from torch_testing_shim._runner.report.recorded_run import RecordedRun
from torch_testing_shim._runner.result import RunSummary
from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given
from report_samples import good_run, sample_run
from runner_samples import RunnerTestCase, last_line


def shard(index: int, count: int, exit_status: int = 0) -> RecordedRun:
    facts = dataclasses.replace(good_run().facts, shard=(index, count), exit_status=exit_status)
    return dataclasses.replace(good_run(), facts=facts)


class VerdictTest(TestCase):
    def test_the_gravest_decides(self) -> None:
        cases = {
            (0, 0): 0,
            (0, 5): 0,
            (5, 5): 5,
            (): 5,
            (0, 1): 1,
            (0, 2): 1,
            (0, 141): 1,
            (-9,): 1,
            (1, 130): 130,
            (143, 130, 1): 143,
        }
        self.assertEqual(cases, {statuses: int(one_verdict(statuses)) for statuses in cases})

    @given(st.integers(1, 6), st.data())
    def test_a_group_is_whole_when_each_shard_is_there_once(self, count: int, data: st.DataObject) -> None:
        shards = [(index, count) for index in range(1, count + 1)]
        self.assertEqual([], list(missing_shards(data.draw(st.permutations(shards)))))
        one = data.draw(st.sampled_from(shards))
        twice = f"shard {one[0]} of {count} has 2 reports"
        self.assertEqual([twice], list(missing_shards([*shards, one])))
        if count > 1:
            without = [shard for shard in shards if shard != one]
            self.assertEqual([f"the report of shard {one[0]} of {count} is missing"], list(missing_shards(without)))

    def test_reports_that_do_not_belong_together(self) -> None:
        self.assertEqual([], list(missing_shards([None])))
        self.assertEqual(["2 reports lie together, and not all are of shards"], list(missing_shards([None, (1, 2)])))
        self.assertEqual(["reports of 2 and of 3 shards lie together"], list(missing_shards([(1, 2), (2, 3)])))


class MergeTest(RunnerTestCase):
    def write_report(self, group: str, run: RecordedRun, name: str = "run") -> Path:
        path = self.tree / "reports" / group / "below" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(to_json_lines(run)))
        return path

    def merged(self, *groups: str) -> tuple[ExitStatus, tuple[str, ...]]:
        found = read_groups([self.tree / "reports" / group for group in groups])
        return found.exit_status, tuple(problem.replace(str(self.tree), "") for problem in found.problems)

    def test_whole_groups(self) -> None:
        self.write_report("py311", dataclasses.replace(shard(2, 2), summary=RunSummary()), "2")
        self.write_report("py311", shard(1, 2), "1")
        self.write_report("py312", good_run())
        self.assertEqual((ExitStatus.PASSED, ()), self.merged("py311", "py312"))
        names = [run.name for run in read_groups([self.tree / "reports" / "py311"]).runs]
        self.assertEqual(["py311, shard 1 of 2", "py311, shard 2 of 2"], names)

    def test_what_is_missing_is_a_failure(self) -> None:
        self.write_report("py311", shard(1, 2))
        (self.tree / "reports" / "empty").mkdir()
        expected = (
            "py311: the report of shard 2 of 2 is missing",
            "empty: there is no report in the folder '/reports/empty'",
            "nowhere: there is no report in the folder '/reports/nowhere'",
        )
        self.assertEqual((ExitStatus.FAILED, expected), self.merged("py311", "empty", "nowhere"))

    def test_shards_that_did_not_plan_alike_are_a_failure(self) -> None:
        for index in (1, 2):
            self.write_report("py311", shard(index, 2), str(index))
        why = "they were not planned by the same times or from the same files"
        self.assertEqual((ExitStatus.FAILED, (f"py311: shim/test_good is in 2 shards: {why}",)), self.merged("py311"))

    def test_a_torn_report_is_a_failure(self) -> None:
        path = self.write_report("py311", shard(1, 1))
        path.write_text(path.read_text()[:-20])
        status, problems = self.merged("py311")
        self.assertEqual(ExitStatus.FAILED, status)
        self.assertRegex(problems[0], r"py311: the report '.*run.jsonl' cannot be read: line \d+ is no record of a run")

    def test_a_report_that_contradicts_itself_is_a_failure(self) -> None:
        facts = dataclasses.replace(sample_run().facts, exit_status=0, shard=None)
        self.write_report("py311", dataclasses.replace(sample_run(), facts=facts))
        expected = ("py311: the report has 4 failures and the exit status 0",)
        self.assertEqual((ExitStatus.FAILED, expected), self.merged("py311"))

    def test_the_command_over_real_shards(self) -> None:
        self.sample("test_a", "def test_a(self): pass")
        self.sample("test_b", "def test_b(self): self.fail('a reason')")
        for index in ("1", "2"):
            self.run_test("--shard", index, "2", "--json-lines", f"reports/py311/{index}.jsonl")
        both = ["--merge-reports", "reports/py311", "--report-html", "merged.html"]
        result = self.run_test(*both)
        self.assertEqual((1, ""), (result.returncode, result.stderr))
        self.assertExpectedInline(
            result.stdout,
            """\
py311, shard 1 of 2  1 passed, 0 failed, 0 skipped  exit status 0
py311, shard 2 of 2  0 passed, 1 failed, 0 skipped  exit status 1
FAILED  test_b::SampleTest.test_b  a reason
1 passed, 1 failed, 0 skipped
""",
        )
        page = (self.tree / "merged.html").read_text()
        self.assertIn("py311, shard 2 of 2", page)
        (self.tree / "reports" / "py311" / "2.jsonl").unlink()
        result = self.run_test(*both)
        self.assertEqual(1, result.returncode)
        self.assertEqual("run_test.py: error: py311: the report of shard 2 of 2 is missing\n", result.stderr)
        self.assertEqual("1 passed, 0 failed, 0 skipped", last_line(result.stdout))
        self.assertIn("the report of shard 2 of 2 is missing", (self.tree / "merged.html").read_text())


if __name__ == "__main__":
    run_tests()
