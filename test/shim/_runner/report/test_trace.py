"""The trace of a run, as Perfetto reads it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from torch_testing_shim._runner.report.recorded_run import RecordedRun, RunFacts
from torch_testing_shim._runner.report.trace import trace_json
from torch_testing_shim._runner.result import FileEnding, FileResult, RunSummary
from torch_testing_shim._shared.journal import JournalEntry, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from report_samples import BEGIN, sample_run


class TraceTest(TestCase):
    def trace(self, run: RecordedRun) -> tuple[dict[int, tuple[str, str]], list[dict[str, Any]]]:
        """The tracks by number, each with its process's name and its own, and the spans."""
        events = json.loads(trace_json(run))["traceEvents"]
        processes = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
        names = [e for e in events if e["name"] == "thread_name"]
        tracks = {e["tid"]: (processes[e["pid"]], e["args"]["name"]) for e in names}
        self.assertEqual(len(names), len(tracks), "Perfetto takes two tracks of one number for one thread")
        self.assertNotIn(0, tracks)
        for process in processes:
            self.assertEqual("file", tracks[process][1], "the thread of its process's number is its main thread")
        spans = [event for event in events if event["ph"] == "X"]
        for span in spans:
            self.assertEqual(processes[span["pid"]], tracks[span["tid"]][0])
        return tracks, spans

    def test_files_are_processes_and_ranks_are_tracks(self) -> None:
        run = sample_run()
        tracks, spans = self.trace(run)
        first = run.summary.files[0].file
        self.assertEqual(
            ["file", "tests", "rank 0", "rank 1", "rank 2", "rank 3"],
            [name for file, name in tracks.values() if file == first],
        )
        loaded = [(tracks[e["tid"]][1], e["ts"], e["dur"]) for e in spans if "test_loaded" in e["name"]][:2]
        self.assertEqual([("tests", 3_000_000, 2_500_000), ("rank 0", 3_100_000, 2_200_000)], loaded)
        self.assertTrue(all(isinstance(e["ts"], int) and e["ts"] >= 0 and e["dur"] >= 0 for e in spans))

    def test_tests_that_ran_at_the_same_time_have_tracks_of_their_own(self) -> None:
        begun = [("A.a", 0.0, 5.0), ("B.a", 1.0, 2.0), ("B.b", 3.0, 9.0), ("A.b", 5.0, 1.0)]
        entries = tuple(
            JournalEntry(name, TestStatus.PASSED, seconds, started_at=BEGIN + at) for name, at, seconds in begun
        )
        run = RecordedRun(RunFacts(BEGIN, 20.0, 0), RunSummary((FileResult(FileEnding("test_x", 0), entries),)))
        tracks, spans = self.trace(run)
        self.assertEqual(
            {"A.a": "tests", "A.b": "tests", "B.a": "tests (2)", "B.b": "tests (2)"},
            {span["name"]: tracks[span["tid"]][1] for span in spans},
        )

    def test_what_has_no_time_is_not_drawn(self) -> None:
        run = RecordedRun(RunFacts(BEGIN, 1.0, 0), RunSummary((FileResult(FileEnding("test_x", 0)),)))
        self.assertEqual([], [e for e in json.loads(trace_json(run))["traceEvents"] if e["ph"] == "X"])


if __name__ == "__main__":
    run_tests()
