"""Rows as Markdown: the report on a storage, and the table."""

from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.conformance._outcomes import Kind, Outcome, Row
from torch_testing_shim.conformance._report import Subject, checkpoint_table, storage_report
from torch_testing_shim.conformance._verdict import lost_rows, verdict_text

SUBJECT = Subject("MyWriter, MyReader", "torch 9.9, cpu ranks", "python -m x")
OK = Outcome(Kind.OK)
ROWS = (
    Row("values", "float32", OK),
    Row("values", "bool", Outcome(Kind.WRONG, "compare: plain, bool: 1 of 20 elements differ")),
    Row("values", "float9", Outcome(Kind.NOT_HERE, "torch 9.9 has no torch.float9")),
    Row("keys", "a load of some", Outcome(Kind.TORCHS, "refuses: load: KeyError: a")),
)
TRIPS = (
    Row("round trip of TP", "Adam, 4 -> 2", OK),
    Row("round trip of TP", "Adam, 3 -> 1", Outcome(Kind.NOT_HERE, "TP needs a multiple of 2 ranks")),
    Row("round trip of TP", "SGD, 4 -> 2", Outcome(Kind.REFUSES, "save: OSError: disk full")),
    Row("values", "float32", OK),
)


class ReportTest(TestCase):
    def test_what_holds_and_what_does_not(self) -> None:
        self.assertExpectedInline(
            storage_report(SUBJECT, ROWS, ["saves: two at once"]),
            """\
# MyWriter, MyReader: checkpoint conformance

torch 9.9, cpu ranks. Made by `python -m x`.

| check | holds | does not hold | torch's own gaps | not here |
| --- | --- | --- | --- | --- |
| values | 1 | 1 | 0 | 1 |
| keys | 0 | 0 | 1 | 0 |

## Does not hold

* values: bool: WRONG: compare: plain, bool: 1 of 20 elements differ

## Did not end

* saves: two at once

## Fails with torch's own FileSystemWriter too

* keys: a load of some: refuses: load: KeyError: a

## Not here

* values: float9: torch 9.9 has no torch.float9
""",
        )

    def test_what_saves_that_are_struck_leave(self) -> None:
        check, dies = "a save over an old checkpoint that fails", "a save over an old checkpoint, whose rank dies"
        rows = (
            Row(check, "fail rank 0 at its 1st write", Outcome(Kind.OK, "old")),
            Row(check, "fail rank 1 at its 1st write", Outcome(Kind.WRONG, "load: MIXED: a is old, b is new")),
            Row(check, "fail rank 0 at its 2nd Path.rename()", Outcome(Kind.NOT_HERE, "the save has no such step")),
            Row(dies, "kill rank 0 at its 1st write", Outcome(Kind.OK, "refuses: KeyError")),
            Row(dies, "kill rank 1 at its 1st write", Outcome(Kind.LOST, "its ranks ended without a word")),
        )
        report = storage_report(SUBJECT, rows, [])
        self.assertExpectedInline(
            report[report.index("## Left") :],
            """\
## Left by a save that is struck

| step | a save over an old checkpoint that fails | a save over an old checkpoint, whose rank dies |
| --- | --- | --- |
| rank 0 at its 1st write | old | refuses |
| rank 1 at its 1st write | MIXED | LOST |
| rank 0 at its 2nd Path.rename() | - |  |
""",
        )

    def test_rows_that_lack_the_same_stand_in_one_line(self) -> None:
        lacking = [Row("round trip of TP", f"Adam, {n} -> 1", Outcome(Kind.NOT_HERE, "TP needs more")) for n in (1, 3)]
        self.assertIn(
            "## Not here\n\n* round trip of TP, 2 rows: TP needs more\n", storage_report(SUBJECT, lacking, [])
        )

    def test_a_report_of_what_holds_has_no_other_section(self) -> None:
        self.assertNotIn("##", storage_report(SUBJECT, ROWS[:1], []))

    def test_table_of_strategies_optimizers_and_ranks(self) -> None:
        self.assertExpectedInline(
            checkpoint_table(SUBJECT, TRIPS),
            """\
# Checkpoint table: MyWriter, MyReader

torch 9.9, cpu ranks. Made by `python -m x`. A column is the number of ranks that save -> that load.

| strategy | optimizer | 4 -> 2 | 3 -> 1 |
| --- | --- | --- | --- |
| TP | Adam | ok | - |
| TP | SGD | refuses |  |

## Refuses or WRONG

* round trip of TP: SGD, 4 -> 2: refuses: save: OSError: disk full
""",
        )


class VerdictTest(TestCase):
    def test_rows_that_hold_or_cannot_be_tried_or_are_torchs_are_right(self) -> None:
        self.assertIsNone(verdict_text([ROWS[0], ROWS[2], ROWS[3]], {}))

    def test_a_bad_row_is_told(self) -> None:
        self.assertExpectedInline(
            str(verdict_text(ROWS, {})),
            """\
1 of 4 rows are not as they should be
values: bool: WRONG: compare: plain, bool: 1 of 20 elements differ""",
        )

    def test_a_row_that_is_known_has_to_end_so(self) -> None:
        self.assertIsNone(verdict_text(ROWS, {"values: bool": "WRONG: compare"}))
        self.assertIn("though known as 'refuses'", str(verdict_text(ROWS, {"values: bool": "refuses"})))

    def test_a_known_gap_that_has_closed_is_told(self) -> None:
        self.assertIn("values: float32: ok, though known", str(verdict_text(ROWS[:1], {"values: float32": "refuses"})))

    def test_rows_that_no_rank_has_told_are_lost_and_fail(self) -> None:
        lost = lost_rows(ROWS[:1], "values", ["float32", "bool"])
        self.assertEqual([("values: bool", Kind.LOST)], [(row.full_name, row.outcome.kind) for row in lost])
        self.assertIn("values: bool: LOST: its ranks ended without a word", str(verdict_text(lost, {})))
        self.assertIn("## Does not hold\n\n* values: bool: LOST", storage_report(SUBJECT, lost, []))
        self.assertEqual([], lost_rows(ROWS[:2], "values", ["float32", "bool"]))

    def test_a_row_survives_its_journal(self) -> None:
        self.assertEqual(list(ROWS), [Row.from_json(row.to_json()) for row in ROWS])


if __name__ == "__main__":
    run_tests()
