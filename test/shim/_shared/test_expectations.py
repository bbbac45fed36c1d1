"""The entry that applies to a test, in the runner and by a skip list in a test file's process."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._shared.expectations import (
    Expectation,
    Expectations,
    FileExpectations,
    reasons_to_skip,
    write_skip_list,
)
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from expectation_samples import SKIP, entries, expectation
from properties import given

TESTS = ("A.a", "A.b", "B.c")


class ChoiceTest(TestCase):
    def chosen(self, *ids: str, test: str = "A.a", device: str = "cpu") -> str:
        found = Expectations(expectation(*id.split(" on ")[:1], devices=tuple(id.split(" on ")[1:])) for id in ids)
        entry = found.for_file("test_x").find(test, device)
        return entry.id if entry is not None else ""

    def test_an_exact_id_comes_before_globs_and_a_later_glob_before_an_earlier_one(self) -> None:
        self.assertEqual("test_x::A.a", self.chosen("test_x::A.a", "test_x::A.*", "*::A.a"))
        self.assertEqual("*::A.a", self.chosen("test_x::A.*", "*::A.a"))
        self.assertEqual("test_x::A.*", self.chosen("*::A.a", "test_x", "test_x::A.*"))
        self.assertEqual("test_x::A", self.chosen("test_x", "test_x::A", "test_y::A.a", "test_x::B"))
        self.assertEqual("", self.chosen("test_y::A.a", "test_x::A.b", "y/*"))

    def test_entries_of_another_device_are_passed_over(self) -> None:
        self.assertEqual("test_x::A.*", self.chosen("test_x::A.*", "test_x::A.a on npu", "*::A.a on npu"))
        self.assertEqual("test_x::A.a", self.chosen("test_x::A.*", "test_x::A.a on npu", device="npu"))
        self.assertEqual("", self.chosen("test_x::A.a on npu", device=""))

    @given(st.lists(entries(), max_size=8), st.sampled_from(["A.a", "A.b", "B.c"]), st.sampled_from(["cpu", "npu"]))
    def test_the_quick_choice_is_the_plain_one(self, drawn: list[Expectation], test: str, device: str) -> None:
        applying = [
            entry
            for entry in drawn
            if entry.pattern.covers_file("test_x") and entry.pattern.covers_test(test) and entry.holds_on(device)
        ]
        exact = [entry for entry in applying if entry.pattern.is_exact]
        expected = (exact or applying)[-1] if applying else None
        self.assertEqual(expected, Expectations(drawn).for_file("test_x").find(test, device))


class SkipListTest(TestCase):
    def test_an_exception_to_a_glob_counts_there_too(self) -> None:
        told = FileExpectations(
            (
                expectation("x", SKIP, reason="hangs", issue="https://1"),
                expectation("x::A.a"),
                expectation("x::B.c", SKIP, devices=("npu",)),
            )
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "told.json"
            self.assertTrue(write_skip_list(told, path))
            self.assertEqual(dict.fromkeys(("A.b", "B.c"), "hangs (https://1)"), reasons_to_skip(path, TESTS, "cpu"))
            on_npu = {"A.b": "hangs (https://1)", "B.c": "x::B.c is expected to be skipped"}
            self.assertEqual(on_npu, reasons_to_skip(path, TESTS, "npu"))

    def test_nothing_is_written_where_nothing_is_to_be_skipped(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.assertFalse(write_skip_list(FileExpectations((expectation("x"),)), Path(folder) / "told.json"))
            self.assertEqual([], list(Path(folder).iterdir()))

    @given(st.lists(entries(), max_size=6), st.sampled_from(["cpu", "npu"]))
    def test_both_sides_choose_alike(self, drawn: list[Expectation], device: str) -> None:
        told = FileExpectations(tuple(drawn))
        here = {test for test in TESTS if (found := told.find(test, device)) and found.expect is SKIP}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "told.json"
            there = set(reasons_to_skip(path, TESTS, device)) if write_skip_list(told, path) else set()
        self.assertEqual(here, there)


if __name__ == "__main__":
    run_tests()
