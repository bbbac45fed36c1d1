"""Records that nobody has checked: read by the fields of a dataclass, or refused."""

from __future__ import annotations

from dataclasses import dataclass

from torch_testing_shim._shared.records import read_record
from torch_testing_shim.common_utils import TestCase, run_tests


@dataclass(frozen=True)
class Sample:
    name: str
    seconds: float
    code: int | None = None
    is_whole: bool = False
    parts: tuple[str, ...] = ()


class RecordsTest(TestCase):
    def test_values_of_fields_are_taken_and_others_are_not(self) -> None:
        self.assertEqual(Sample("a", 1), read_record(Sample, {"name": "a", "seconds": 1, "more": []}))
        self.assertEqual(Sample("a", 1.5, 3, True), read_record(Sample, vars(Sample("a", 1.5, 3, True)), parts=()))
        self.assertEqual(
            Sample("b", 0.0, parts=("c",)), read_record(Sample, {"name": 1}, name="b", seconds=0.0, parts=("c",))
        )

    def test_what_does_not_fit_is_refused(self) -> None:
        whole = {"name": "a", "seconds": 1.0}
        wrong = {"name": 1, "seconds": True, "code": 1.0, "is_whole": 1, "parts": ["c"]}
        for name, value in wrong.items():
            with self.assertRaisesRegex(TypeError, f"{name} is "):
                read_record(Sample, {**whole, name: value})
        with self.assertRaises(KeyError):
            read_record(Sample, {"name": "a"})
        for number in (float("nan"), float("inf")):
            with self.assertRaises(ValueError):
                read_record(Sample, {**whole, "seconds": number})
        with self.assertRaises(OverflowError):
            read_record(Sample, {**whole, "seconds": 10**400})


if __name__ == "__main__":
    run_tests()
