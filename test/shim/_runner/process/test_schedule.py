"""The schedule without the command around it: what runs beside what, who gets which accelerator, and when it ends.

Accelerators are simulated: the starter's answer is replaced, since a machine without any is to pass this test too.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import textwrap
from collections.abc import Generator
from pathlib import Path
from unittest import mock

from torch_testing_shim._runner.cli.options import Options
from torch_testing_shim._runner.expectations.judgement import Judge, RunJudgement
from torch_testing_shim._runner.history.times import FileTime, TestTime, Times
from torch_testing_shim._runner.plan.selection import FileSelection
from torch_testing_shim._runner.plan.tree import Tree
from torch_testing_shim._runner.process import file_process, schedule
from torch_testing_shim._runner.process.command import FileCommand
from torch_testing_shim._runner.process.schedule import RunPlan, run_all
from torch_testing_shim._runner.process.start import Starter
from torch_testing_shim._runner.process.stop import StopRequest
from torch_testing_shim._runner.result import FileResult, RunSummary
from torch_testing_shim._shared import journal_reading
from torch_testing_shim._shared.expectations import FileExpectations
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from expectation_samples import expectation
from process_samples import ROOT, Listener
from runner_samples import MINI_RUN

#: Writes when it began and ended and what it was given; it imports the harness as its text says, and does not use it.
SAMPLE = """
import json, os, sys, time, unittest
from mini_run import run_tests
if False:
    from torch_testing_shim.common_distributed import MultiProcessTestCase
    world_size = {ranks}

class T(unittest.TestCase):
    def test_it(self):
        began = time.monotonic()
        time.sleep({seconds})
        indices = os.environ.get("TORCH_TESTING_SHIM_DEVICE_INDICES")
        json.dump([began, time.monotonic(), indices], open(__file__ + ".json", "w"))

run_tests()
"""


#: Writes the journal of 100 tests, so slowly that it is read many times.
JOURNAL = """
from mini_run import *

tests = [f"T.test_{n}" for n in range(100)]
journal.plan(tests)
for test in tests:
    journal.start(test)
    journal.end(JournalEntry(test, TestStatus.PASSED, 0.0))
    time.sleep(0.003)
journal.finish()
"""

TAKE_LINE = journal_reading._Reading.take_line


class Report:
    """Keeps the order of what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.open: list[Listener] = []
        self.watchers: list[Listener] = []

    def run_started(self, files: object) -> None:
        self.told.append("run")

    def process_started(self, file: str, part: str = "") -> Listener:
        self.told.append(f"start {file}")
        self.watchers.append(Listener())
        self.open.append(self.watchers[-1])
        return self.open[-1]

    def process_ended(self, watcher: Listener) -> None:
        self.open.remove(watcher)

    def file_ended(self, result: FileResult) -> None:
        self.told.append(f"end {result.file}")


class ScheduleTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="schedule-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "mini_run.py").write_text(MINI_RUN)
        (self.folder / "scratch").mkdir()
        self.report = Report()

    def write(self, name: str, ranks: int = 1, seconds: float = 0.5) -> None:
        (self.folder / f"{name}.py").write_text(textwrap.dedent(SAMPLE.format(ranks=ranks, seconds=seconds)))

    def run_files(self, *names: str, devices: int = 0, times: Times | None = None, **options: object) -> RunSummary:
        def count(starter: Starter, command: FileCommand) -> Generator[None, None, int]:
            yield
            return devices

        plan = RunPlan(
            [FileSelection(name) for name in names],
            Tree(self.folder, self.folder, self.folder),
            Options(cold=True, keep_going=True, **options),  # type: ignore[arg-type]
            times or Times(),
        )
        environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(self.folder)])}
        with (
            mock.patch.dict(os.environ, environment),
            mock.patch.object(Starter, "count_devices", count),
            mock.patch.object(schedule, "core_count", lambda: 2),
            StopRequest() as stop,
        ):
            summary = run_all(plan, scratch=self.folder / "scratch", stop=stop, report=self.report, say=self.fail)
        self.assertEqual([], self.report.open)
        self.assertEqual([], list((self.folder / "scratch").iterdir()))
        return summary

    def spans(self, *names: str) -> list[tuple[float, float, str | None]]:
        return [tuple(json.loads((self.folder / f"{name}.py.json").read_text())) for name in names]

    def most_at_once(self, *names: str) -> int:
        spans = self.spans(*names)
        return max(sum(began <= at < ended for began, ended, _ in spans) for at, _, _ in spans)

    def test_as_many_files_run_at_once_as_the_budget_has_room_for(self) -> None:
        """Two files of 4 ranks on two cores, however many jobs there are."""
        names = ["test_a", "test_b", "test_c", "test_d"]
        for name in names:
            self.write(name, ranks=4)
        summary = self.run_files(*names, jobs=8)
        self.assertEqual((4, 0), (sum(file.passed for file in summary.files), summary.exit_status))
        self.assertEqual(2, self.most_at_once(*names))
        self.assertEqual(names, [file.file for file in summary.files])

    def test_recorded_ranks_count_more_than_the_source(self) -> None:
        self.write("test_a", ranks=1)
        self.write("test_b", ranks=1)
        self.run_files(
            "test_a", "test_b", jobs=2, times=Times({"test_a": FileTime(tests={"A.a": TestTime(0.0, 0.0, 8)})})
        )
        self.assertEqual(1, self.most_at_once("test_a", "test_b"))

    def test_accelerators_are_leased_to_one_file_at_a_time(self) -> None:
        for name, ranks in (("test_a", 2), ("test_b", 1), ("test_c", 4)):
            self.write(name, ranks=ranks)
        self.run_files("test_a", "test_b", "test_c", jobs=3, devices=3)
        (_, a_ended, a), (_, b_ended, b), (c_began, _, c) = self.spans("test_a", "test_b", "test_c")
        self.assertEqual(("0,1", "2", "0,1,2"), (a, b, c))
        self.assertGreaterEqual(c_began, max(a_ended, b_ended))

    def test_one_after_the_other_every_file_may_use_all(self) -> None:
        self.write("test_a", ranks=2, seconds=0)
        self.write("test_b", ranks=2, seconds=0)
        self.run_files("test_a", "test_b", devices=4)
        self.assertEqual([None, None], [span[2] for span in self.spans("test_a", "test_b")])
        self.assertEqual(["run", "start test_a", "end test_a", "start test_b", "end test_b"], self.report.told)

    def test_a_file_that_is_known_to_take_too_long_does_not_start(self) -> None:
        self.write("test_a", seconds=0)
        self.write("test_b", seconds=0)
        summary = self.run_files("test_a", "test_b", deadline=60.0, times=Times({"test_a": FileTime(1.0, 100.0)}))
        self.assertEqual((("test_a",), "--deadline 60"), (summary.not_run, summary.why_not_run))
        self.assertEqual((1, 1), (len(summary.files), summary.exit_status))

    def test_results_are_shown_as_they_come_judged_and_with_their_rerun_lines(self) -> None:
        fails = "".join(f"    def test_{name}(self): self.fail('why')\n" for name in ("known", "new"))
        text = f"import unittest\nfrom mini_run import run_tests\nclass T(unittest.TestCase):\n{fails}run_tests()\n"
        (self.folder / "test_a.py").write_text(text)
        judge = Judge(FileExpectations((expectation("test_a::T.test_known"),)))
        with mock.patch.object(RunJudgement, "judge_of", lambda judged, file: judge):
            self.run_files("test_a")
        known, new = (entry for news in self.report.watchers[0].news for entry in news.entries)
        self.assertEqual([TestStatus.EXPECTED_FAILURE, TestStatus.FAILED], [known.status, new.status])
        self.assertIn("To run this test again:\n    ", new.detail)
        self.assertEqual(1, new.detail.count("T.test_new\n"))

    def test_each_journal_line_is_read_once_and_each_entry_judged_once_to_show_it(self) -> None:
        """However often the process is looked at; the second judgement is at its end, for the tests to run again."""
        (self.folder / "test_a.py").write_text(JOURNAL)
        read = mock.patch.object(journal_reading._Reading, "take_line", autospec=True, side_effect=TAKE_LINE)
        judged = mock.patch.object(Judge, "entry", autospec=True, side_effect=lambda judge, entry, device: entry)
        with mock.patch.object(file_process, "LOOK_INTERVAL", 0.0), read as lines, judged as entries:
            summary = self.run_files("test_a")
        self.assertEqual(100, summary.files[0].passed)
        self.assertGreater(len(self.report.watchers[0].news), 3)
        self.assertEqual((202, 200), (sum(bool(call.args[1]) for call in lines.mock_calls), len(entries.mock_calls)))

    def test_a_run_that_breaks_off_kills_what_runs(self) -> None:
        self.write("test_a", seconds=300)

        def breaks(watcher: Listener) -> None:
            raise KeyError("a report's own fault")

        with mock.patch.object(Listener, "on_look", breaks), self.assertRaises(KeyError):
            self.run_files("test_a")
        self.assertEqual([], list((self.folder / "scratch").iterdir()))


if __name__ == "__main__":
    run_tests()
