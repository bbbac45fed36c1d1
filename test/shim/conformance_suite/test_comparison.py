"""Which part of a whole a rank holds, and whether the bits are the same."""

import torch
from hypothesis import given, strategies as st

from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.conformance._comparison import check_state, cut, flat_state, same_bits
from torch_testing_shim.conformance._outcomes import MismatchError


class CutTest(TestCase):
    @given(st.integers(0, 40), st.integers(1, 9))
    def test_parts_are_torchs_chunks_and_empty_ones_behind_them(self, length: int, pieces: int) -> None:
        whole = torch.arange(length)
        parts = [cut(whole, 0, pieces, index).tolist() for index in range(pieces)]
        chunks = [chunk.tolist() for chunk in whole.chunk(pieces)]
        self.assertEqual(chunks + [[]] * (pieces - len(chunks)), parts)


class BitsTest(TestCase):
    def test_a_nan_is_itself_and_no_zero_is_the_other(self) -> None:
        nan = torch.tensor([float("nan")])
        self.assertTrue(same_bits(nan, nan.clone()))
        self.assertFalse(same_bits(torch.tensor([0.0]), torch.tensor([-0.0])))
        self.assertFalse(same_bits(torch.tensor([1 + 0j]), torch.tensor([1 - 0j]).conj_physical().neg()))
        self.assertTrue(same_bits(torch.tensor(1 + 2j), torch.tensor(1 + 2j)))


class StateTest(TestCase):
    def message(self, actual: dict[str, object], reference: dict[str, object]) -> str:
        with self.assertRaises(MismatchError) as raised:
            check_state(actual, reference)
        return str(raised.exception)

    def test_first_difference_is_named(self) -> None:
        ones = torch.ones(3)
        self.assertEqual("a is missing", self.message({}, {"a": 1}))
        self.assertEqual("b was never saved", self.message({"a": 1, "b": 1}, {"a": 1}))
        self.assertEqual("a is True, not 1", self.message({"a": True}, {"a": 1}))
        self.assertEqual("a is 1, not a tensor", self.message({"a": 1}, {"a": ones}))
        self.assertEqual("a has the shape (2,), not (3,)", self.message({"a": torch.ones(2)}, {"a": ones}))
        self.assertEqual("a is torch.float64, not torch.float32", self.message({"a": ones.double()}, {"a": ones}))
        other = torch.tensor([1.0, 0.5, 2.0])
        expected = "a: 2 of 3 elements differ, the first at 1: 0.5, not 1.0"
        self.assertEqual(expected, self.message({"a": other}, {"a": ones}))
        check_state({"a": ones.clone(), "b": "c"}, {"a": ones, "b": "c"})

    def test_leaves_of_nested_containers(self) -> None:
        state = {"a": {"b": [1, {"c": 2}]}, "d": {}, "e": ()}
        self.assertEqual({"a.b.0": 1, "a.b.1.c": 2, "d": {}, "e": ()}, flat_state(state))


if __name__ == "__main__":
    run_tests()
