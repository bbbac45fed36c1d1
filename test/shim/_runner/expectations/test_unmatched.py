"""Which entries match no test: only where the run can tell."""

from __future__ import annotations

import sys
from pathlib import Path

from torch_testing_shim._runner.expectations.unmatched import Listed, unmatched_entries
from torch_testing_shim._runner.result import Failure, FileResult
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from expectation_samples import crash, expectation, ran, result

NAMES = ("test_x", "d/test_y", "d/test_z")
X, Y, Z = result(ran("A.a"), faults=(crash("A.b"),)), result(ran("B.a"), file="d/test_y"), result(file="d/test_z")


class UnmatchedTest(TestCase):
    def unmatched(
        self, *ids: str, results: tuple[FileResult, ...] = (X, Y, Z), whole: tuple[str, ...] = NAMES
    ) -> list[str]:
        entries = [expectation(id.split(" on ")[0], devices=tuple(id.split(" on ")[1:])) for id in ids]
        listed = Listed(NAMES, frozenset(whole), set(whole) == set(NAMES))
        return [entry.id for entry in unmatched_entries(entries, results, listed)]

    def test_entries_that_match_and_entries_that_do_not(self) -> None:
        matching = ("test_x::A.a", "test_x::A.b", "test_x::A", "test_x", "d/*::B.*", "*", "*::A.b")
        self.assertEqual([], self.unmatched(*matching))
        missing = ["test_x::A.c", "test_x::B", "d/test_z", "d/*::A.*", "d/*::C", "test_gone::A.a", "e/*"]
        self.assertEqual(missing, self.unmatched(*matching, *missing))

    def test_what_the_run_has_left_out_is_not_judged(self) -> None:
        missing = ("test_x::A.c", "d/*::C.c", "*::C.c", "test_gone::A.a", "d/test_y::C.c")
        self.assertEqual(["test_x::A.c"], self.unmatched(*missing, results=(X,), whole=("test_x",)))
        self.assertEqual(["test_x::A.c"], self.unmatched(*missing, whole=("test_x", "d/test_z")))
        self.assertEqual([], self.unmatched(*missing, results=(), whole=()))
        together = self.unmatched(*missing, results=(Y, Z), whole=("d/test_y", "d/test_z"))
        self.assertEqual(["d/*::C.c", "d/test_y::C.c"], together)

    def test_a_file_that_has_not_told_its_tests_is_not_judged(self) -> None:
        for silent in (
            result(faults=(Failure("test_x", "", "error", "did not import"),)),
            result(ran("A.a"), is_stopped=True),
        ):
            self.assertEqual([], self.unmatched("test_x::A.c", "*::C.c", results=(silent, Y, Z)))

    def test_an_entry_of_another_device_is_not_judged(self) -> None:
        self.assertEqual([], self.unmatched("test_x::A.c on npu"))
        self.assertEqual(["test_x::A.c"], self.unmatched("test_x::A.c on cpu"))
        unknown = result(ran("A.a"), device="")
        self.assertEqual([], self.unmatched("test_x::A.c on cpu", results=(unknown, Y, Z)))


if __name__ == "__main__":
    run_tests()
