"""JSON lines, and the way back from them."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.report.json_lines import RecordsError, read_json_lines, to_json_lines
from torch_testing_shim._runner.report.recorded_run import RecordedRun, describe_machine
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given
from report_samples import good_run, hostile_run, sample_run

ANY_TEXT = st.text(st.characters(exclude_categories=[]))


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


if __name__ == "__main__":
    run_tests()
