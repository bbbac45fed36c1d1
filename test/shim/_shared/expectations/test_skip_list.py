"""What a test file's process is told: it chooses as the runner does, by the device that it alone knows."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from hypothesis import given, strategies as st

from torch_testing_shim._shared.expectations.expectation import Expectation
from torch_testing_shim._shared.expectations.lookup import FileExpectations
from torch_testing_shim._shared.expectations.skip_list import reasons_to_skip, write_told
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from expectation_samples import SKIP, entries, expectation

TESTS = ("A.a", "A.b", "B.c")


class ToldTest(TestCase):
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
            self.assertTrue(write_told(told, path))
            self.assertEqual(dict.fromkeys(("A.b", "B.c"), "hangs (https://1)"), reasons_to_skip(path, TESTS, "cpu"))
            on_npu = {"A.b": "hangs (https://1)", "B.c": "x::B.c is expected to be skipped"}
            self.assertEqual(on_npu, reasons_to_skip(path, TESTS, "npu"))

    def test_nothing_is_written_where_nothing_is_to_be_skipped(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.assertFalse(write_told(FileExpectations((expectation("x"),)), Path(folder) / "told.json"))
            self.assertEqual([], list(Path(folder).iterdir()))

    @given(st.lists(entries(), max_size=6), st.sampled_from(["cpu", "npu"]))
    def test_both_sides_choose_alike(self, drawn: list[Expectation], device: str) -> None:
        told = FileExpectations(tuple(drawn))
        here = {test for test in TESTS if (found := told.find(test, device)) and found.expect is SKIP}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "told.json"
            there = set(reasons_to_skip(path, TESTS, device)) if write_told(told, path) else set()
        self.assertEqual(here, there)


if __name__ == "__main__":
    run_tests()
