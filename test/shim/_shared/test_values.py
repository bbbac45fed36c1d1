"""Values given as text: what is read, what is refused in one phrase, and the way back."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._shared import values
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from properties import given

READERS = {
    "flag": values.flag,
    "one_of": values.one_of("a", "b"),
    "whole_number": values.whole_number(2, 9),
    "indices": values.indices,
    "seconds": values.seconds(),
}


class Values(TestCase):
    def refusal(self, reader: str, text: str) -> str:
        with self.assertRaises(values.Unusable) as caught:
            READERS[reader](text)
        return str(caught.exception)

    def test_what_is_refused_is_told_by_what_it_must_be(self) -> None:
        told = {name: self.refusal(name, "x") for name in READERS}
        self.assertEqual(
            {
                "flag": "1 or 0",
                "one_of": "one of a, b",
                "whole_number": "a whole number from 2 to 9",
                "indices": "different whole numbers with commas between",
                "seconds": "a positive number of seconds",
            },
            told,
        )

    def test_edges(self) -> None:
        read = READERS["whole_number"]
        self.assertEqual((2, 9), (read("2"), read("9")))
        for text in ("1", "10", "-3", "2.0", "\u0663", "9" * 11):
            self.refusal("whole_number", text)
        self.assertEqual(0.0, values.seconds(zero_allowed=True)("0"))
        for text in ("0", "-1", "inf", "nan", ""):
            self.refusal("seconds", text)
        self.assertEqual((True, False), (values.flag("ON"), values.flag("No")))
        self.assertEqual((7, None), (values.decimal_or_none("7"), values.decimal_or_none("7a")))
        self.assertEqual(os.path.join(os.getcwd(), "a"), values.absolute_path("a"))

    def test_an_argument_is_refused_in_a_sentence(self) -> None:
        with self.assertRaisesRegex(argparse.ArgumentTypeError, "^'0' is not a whole number from 1$"):
            values.as_argument(values.whole_number(1))("0")

    @given(st.floats(min_value=0.0, exclude_min=True, allow_infinity=False))
    def test_seconds_are_read_back(self, number: float) -> None:
        self.assertEqual(number, values.seconds()(values.as_text(number)))

    @given(st.lists(st.integers(0, 99999), min_size=1, unique=True))
    def test_indices_are_read_back(self, numbers: list[int]) -> None:
        self.assertEqual(tuple(numbers), values.indices(values.as_text(tuple(numbers))))


if __name__ == "__main__":
    run_tests()
