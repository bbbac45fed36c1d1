"""What programs read: JSON lines and the way back (`json_lines`, `rows`), the trace, and the timeline's bars."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from hypothesis import given, strategies as st

from torch_testing_shim._runner.report.json_lines import RecordsError, read_json_lines, to_json_lines
from torch_testing_shim._runner.report.recorded_run import RecordedRun, RunFacts, describe_machine, rows_of
from torch_testing_shim._runner.report.timeline import MOST_BARS, WIDTH, timeline_of
from torch_testing_shim._runner.report.trace import trace_json
from torch_testing_shim._runner.result import FileEnding, FileResult, RunSummary
from torch_testing_shim._shared.journal import JournalEntry, RankRecord, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from report_samples import BEGIN, CRASHED, GOOD, STATE, good_run, hostile_run, sample_run

ANY_TEXT = st.text(st.characters(exclude_categories=[]))


class RowsTest(TestCase):
    def test_one_row_for_each_test_and_finding(self) -> None:
        labels = [(row.test, row.label, row.is_failure, len(row.reruns)) for row in rows_of(STATE) + rows_of(CRASHED)]
        expected = [
            ("State.test_saved", "passed", False, 0),
            ("State.test_loaded", "failed", True, 1),
            ("State.test_once", "flaky", False, 1),
            ("State.test_gpu", "skipped", False, 0),
            ("State.test_known", "expected failure", False, 0),
            ("A.test_quick", "passed", False, 0),
            ("A.test_slow", "crashed", True, 0),
            ("A.test_later", "did not run", True, 0),
            ("", "error", True, 0),
        ]
        self.assertEqual(expected, labels)

    def test_a_flaky_test_fails_where_the_user_wants_it(self) -> None:
        rows = rows_of(dataclasses.replace(STATE, flaky_fails=True))
        self.assertEqual([("flaky", True)], [(row.label, row.is_failure) for row in rows if row.is_flaky])

    def test_a_crash_that_passed_again_is_flaky(self) -> None:
        again = JournalEntry("A.test_slow", TestStatus.PASSED, 1.0)
        rows = rows_of(dataclasses.replace(CRASHED, reruns=(again,)))
        self.assertEqual([("A.test_slow", (again,))], [(row.test, row.reruns) for row in rows if row.is_flaky])


class JsonLinesTest(TestCase):
    def lines(self, run: RecordedRun | None = None) -> list[str]:
        return list(to_json_lines(sample_run() if run is None else run))

    def refusal(self, lines: list[str]) -> str:
        with self.assertRaises(RecordsError) as caught:
            read_json_lines(lines)
        return str(caught.exception)

    def test_what_is_written_is_read(self) -> None:
        for run in (sample_run(), good_run()):
            self.assertEqual(run, read_json_lines(self.lines(run)))

    @given(ANY_TEXT)
    def test_any_text_is_read_as_it_was_written_on_a_line_of_its_own(self, text: str) -> None:
        lines = self.lines(dataclasses.replace(hostile_run(text), group=""))
        self.assertTrue(all(line.isascii() and line.count("\n") == 1 for line in lines))
        self.assertEqual(dataclasses.replace(hostile_run(text), group=""), read_json_lines(lines))

    def test_one_record_for_each_test_and_each_rank(self) -> None:
        records = [json.loads(line) for line in self.lines()]
        self.assertEqual({1}, {record["version"] for record in records})
        once = [r for r in records if r.get("test") == "State.test_once"]
        told = [(r["record"], r["attempt"], r["status"], r.get("result")) for r in once]
        expected = [
            ("test", 0, "error", "flaky"),
            ("test", 1, "passed", "flaky"),
            ("rank", 1, "passed", None),
            ("rank", 1, "passed", None),
        ]
        self.assertEqual(expected, told)
        kinds = [record["record"] for record in records]
        self.assertEqual((1, 4, 1, 3), tuple(kinds.count(kind) for kind in ("run", "file", "interrupted", "fault")))
        self.assertEqual({"record": "end", "version": 1, "records": len(records) - 1}, records[-1])

    def test_fields_that_are_new_are_passed_over(self) -> None:
        changed = [json.dumps({**json.loads(line), "new": 1}) for line in self.lines()]
        self.assertEqual(sample_run(), read_json_lines(changed))

    @given(st.data())
    def test_a_torn_report_is_never_taken_for_a_whole_one(self, data: st.DataObject) -> None:
        whole = "".join(self.lines())
        kept = whole[: data.draw(st.integers(0, len(whole) - 2))]
        self.refusal(kept.splitlines())

    def test_the_message_says_what_is_wrong(self) -> None:
        lines = self.lines()
        self.assertEqual("it is empty", self.refusal([]))
        self.assertEqual("its end is missing", self.refusal(lines[:-1]))
        self.assertRegex(self.refusal(lines[:-2] + lines[-1:]), r"it has \d+ records, and was written with \d+")
        self.assertEqual("line 1 is no record of a run", self.refusal(["nonsense"]))
        self.assertEqual("line 1 is no record of a run", self.refusal(lines[1:]))
        self.assertEqual(f"line {len(lines) + 1} is no record of a run", self.refusal([*lines, lines[1]]))
        self.assertEqual("its version is 2, not 1", self.refusal(['{"version": 2}']))

    def test_a_value_that_nothing_can_show_is_refused(self) -> None:
        def changed(record: str, field: str, value: object) -> list[str]:
            whole = [json.loads(line) for line in self.lines()]
            found = next(one for one in whole if one["record"] == record)
            found[field] = value
            return [json.dumps(one) for one in whole]

        for record, field, value in (
            ("file", "seconds", float("nan")),
            ("file", "file", None),
            ("test", "seconds", "1"),
            ("test", "status", "nice"),
            ("test", "file", "another"),
            ("rank", "pid", "x"),
            ("rank", "exit_code", 1.5),
            ("run", "shard", [3, 2]),
            ("run", "shard", [1, 10**9]),
            ("run", "stopped_by", "SIGNOTHING"),
            ("fault", "reason", []),
        ):
            self.assertRegex(self.refusal(changed(record, field, value)), r"line \d+ is no record of a run", field)

    def test_the_machine_in_words(self) -> None:
        self.assertRegex(describe_machine(), r"^Python 3\.\d+\.\d+\S*, \w+ \w+, \d+ cores?$")


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


class TimelineTest(TestCase):
    def test_lanes_in_the_order_of_their_starts(self) -> None:
        timeline = timeline_of(sample_run())
        expected = ["distributed/test_state", "shim/test_crash", "shim/test_good", "shim/test_stopped"]
        self.assertEqual(expected, [lane.name for lane in timeline.lanes])
        self.assertEqual(["0 s", "2 s", "4 s", "6 s", "8 s", "10 s"], [tick.text for tick in timeline.ticks])
        kinds = [bar.kind for bar in timeline.lanes[0].bars]
        counts = [kinds.count(kind) for kind in ("file", "rank passed", "rank failed")]
        self.assertEqual([1, 4 + 2, 4], counts)
        self.assertEqual((2, 2), (kinds.count("flaky"), kinds.count("failed")))

    @given(st.lists(st.tuples(st.floats(0, 1e10), st.floats(0, 1e6)), max_size=5))
    def test_every_bar_lies_on_the_page_whatever_the_clock_did(self, times: list[tuple[float, float]]) -> None:
        entries = tuple(
            JournalEntry(
                f"A.{n}", TestStatus.PASSED, seconds, started_at=at, ranks=(RankRecord(0, "x", 1, at, seconds),)
            )
            for n, (at, seconds) in enumerate(times)
        )
        result = FileResult(FileEnding("test_x", 0, 5.0, started_at=BEGIN), entries)
        for lane in timeline_of(RecordedRun(RunFacts(BEGIN, 5.0, 0), RunSummary((result,)))).lanes:
            for bar in lane.bars:
                self.assertTrue(bar.left >= 0 and bar.left + bar.width <= WIDTH + 0.02, bar)
                self.assertLessEqual(bar.top + bar.height, lane.height)

    def test_too_many_bars_are_left_out_and_a_line_says_so(self) -> None:
        def timeline(tests: int, ranks: int) -> tuple[int, str]:
            records = tuple(RankRecord(rank, "passed", 1, BEGIN, 1.0) for rank in range(ranks))
            entries = tuple(
                JournalEntry(f"A.{n}", TestStatus.PASSED, 1.0, "", "", BEGIN, records) for n in range(tests)
            )
            result = FileResult(FileEnding("test_x", 0, 5.0, started_at=BEGIN), entries)
            drawn = timeline_of(RecordedRun(RunFacts(BEGIN, 5.0, 0), RunSummary((result,))))
            return len(drawn.lanes[0].bars), drawn.left_out

        self.assertEqual((11, ""), timeline(2, 4))
        self.assertEqual((MOST_BARS + 1, "ranks are left out, there are too many"), timeline(MOST_BARS, 1))
        self.assertEqual((1, "only files are drawn"), timeline(MOST_BARS + 1, 0))

    def test_a_run_of_nothing(self) -> None:
        self.assertEqual((), timeline_of(RecordedRun(RunFacts(BEGIN, 0.0, 5), RunSummary())).lanes)
        self.assertEqual(1, len(timeline_of(RecordedRun(RunFacts(0.0, 0.0, 0), RunSummary((GOOD,)))).lanes))


if __name__ == "__main__":
    run_tests()
