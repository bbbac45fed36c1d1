"""Equality of values, and the text where they differ: `comparison` and `leaves`."""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from hypothesis import strategies as st

from torch_testing_shim._assertions.comparison import ComparisonRules, differences, report
from torch_testing_shim.common_utils import (
    TestCase,
    instantiate_parametrized_tests,
    parametrize,
    run_tests,
    suppress_warnings,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from properties import given

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conformance"))

from equality_table import all_pairs, outcome, read_table

DTYPES = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.int32,
    torch.uint8,
    torch.bool,
]


def is_equal(actual: Any, expected: Any, **rules: Any) -> bool:
    return not differences(actual, expected, ComparisonRules(**rules))


def places(actual: Any, expected: Any) -> list[str]:
    return [difference.place for difference in differences(actual, expected, ComparisonRules())]


def assert_close_agrees(actual: torch.Tensor, expected: torch.Tensor, **tolerances: float) -> bool:
    try:
        torch.testing.assert_close(actual, expected, equal_nan=True, check_device=False, **tolerances)
    except AssertionError:
        return False
    return True


numbers = st.floats(-100, 100, width=16) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0])
#: Relative nudges around every default tolerance, so that both verdicts come up.
nudges = st.sampled_from([0.0, 1e-8, 5e-8, 2e-7, 1e-6, 1e-5, 2e-5, 1e-4, 2e-3, 1e-2, 0.1])


@instantiate_parametrized_tests
class AgreesWithTorchTest(TestCase):
    @parametrize("dtype", DTYPES)
    @given(values=st.lists(numbers, max_size=4), nudge=nudges, other_dtype=st.sampled_from(DTYPES) | st.none())
    def test_tensors(
        self, dtype: torch.dtype, values: list[float], nudge: float, other_dtype: torch.dtype | None
    ) -> None:
        if dtype in (torch.int32, torch.uint8, torch.bool):
            values = [abs(int(value)) if math.isfinite(value) else 0 for value in values]
        expected = torch.tensor(values, dtype=torch.float64).to(dtype)
        moved = (torch.tensor(values, dtype=torch.float64) * (1 + nudge)).to(dtype)
        actual = moved if other_dtype is None or dtype.is_complex else moved.to(other_dtype)
        self.assertIs(is_equal(actual, expected), assert_close_agrees(actual, expected))

    @given(values=st.lists(numbers, min_size=1, max_size=4), nudge=nudges, atol=nudges, rtol=nudges)
    def test_tolerances(self, values: list[float], nudge: float, atol: float, rtol: float) -> None:
        expected = torch.tensor(values, dtype=torch.float64)
        actual = expected * (1 + nudge)
        agreed = assert_close_agrees(actual, expected, atol=atol, rtol=rtol)
        self.assertIs(is_equal(actual, expected, atol=atol, rtol=rtol), agreed)


class LeavesTest(TestCase):
    @suppress_warnings  # torch calls storages deprecated, and nested tensors a prototype
    def test_values_of_one_kind_that_differ(self) -> None:
        """`EqualityTableTest` has those of other kinds, and options."""
        one, other = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])
        nested = torch.nested.nested_tensor([one, torch.ones(3)])
        self.assertTrue(is_equal(nested, nested.clone()))
        for actual, expected in [
            (one.storage(), other.storage()),
            (nested, torch.nested.nested_tensor([other, torch.ones(3)])),
            (torch.tensor([3, 3]), 3),
            (torch.tensor(2), True),
            (True, 2),
            ({1}, {2}),
            (object(), object()),
        ]:
            self.assertFalse(is_equal(actual, expected), (actual, expected))

    def test_numbers_at_the_ends(self) -> None:
        self.assertTrue(is_equal(10**400, 10**400))
        self.assertTrue(is_equal(0.1, torch.tensor([0.1], dtype=torch.float16)))

    def test_inside_a_list_no_list_is_read_as_a_tensor(self) -> None:
        self.assertFalse(is_equal([torch.tensor([1, 2])], [[1, 2]]))  # as upstream has it

    def test_a_sequence_that_is_no_tensor_is_a_wrong_comparison(self) -> None:
        (difference,) = differences(torch.tensor([1, 2]), ["a", "b"], ComparisonRules())
        self.assertIs(difference.error, ValueError)
        self.assertIn("a tensor of torch.int64 and a list cannot be compared", difference.message)

    def test_none_is_only_none(self) -> None:
        self.assertTrue(is_equal(None, None))
        for value in (0, False, "", [], torch.tensor(0)):
            self.assertFalse(is_equal(None, value) or is_equal(value, None), value)
            for pair in ((None, value), (value, None)):
                (difference,) = differences(*pair, ComparisonRules())
                self.assertIn(f"{pair[0]!r} is not {pair[1]!r}", difference.message)

    def test_tensors_of_unrelated_subclasses(self) -> None:
        class Marked(torch.Tensor):
            pass

        self.assertTrue(is_equal(torch.nn.Parameter(torch.ones(2)), torch.ones(2).as_subclass(Marked)))
        self.assertFalse(is_equal(torch.nn.Parameter(torch.ones(2)), torch.zeros(2).as_subclass(Marked)))


class EqualityTableTest(TestCase):
    """Equality among 88 kinds of values; `test/conformance/compare_equality.py` holds it against PyTorch's."""

    def setUp(self) -> None:
        super().setUp()
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)  # for DTensor and ShardedTensor
        self.addCleanup(dist.destroy_process_group)

    @suppress_warnings
    def test_every_pair_compares_as_the_table_has_it(self) -> None:
        table, found = read_table(), {}
        for number, pair in enumerate(all_pairs()):  # in one order or the other: it makes no difference
            found[pair] = outcome(self.assertEqual, pair, swapped=number % 2 == 1)
        self.assertEqual(table.keys(), found.keys())
        wrong = [f"{pair}: {found[pair]}, in the table {table[pair]}" for pair in table if found[pair] != table[pair]]
        self.assertEqual([], wrong)


class ContainersTest(TestCase):
    def test_every_difference_has_its_place(self) -> None:
        actual = {"a": [1, torch.zeros(2)], "b": {"c": None}, "d": "same"}
        expected = {"a": [2, torch.ones(2)], "b": {"c": 1}, "d": "same"}
        self.assertEqual(places(actual, expected), ["['a'][0]", "['a'][1]", "['b']['c']"])
        self.assertEqual(places([[1], [2, 3]], [[1], [2]]), ["[1]"])

    def test_tensors_are_keys_by_their_identity(self) -> None:
        one, other, parameter = torch.ones(2), torch.ones(2), torch.nn.Parameter(torch.ones(2))
        self.assertTrue(is_equal({one: 1, parameter: 2}, {parameter: 2, one: 1}))
        self.assertEqual(["[0]"], places([{one: 1}], [{other: 1}]))
        self.assertEqual([f"[{one!r}]"], places({one: 1, parameter: 1}, {one: 2, parameter: 1}))

    def test_what_cannot_be_compared_has_its_place(self) -> None:
        with self.assertRaisesRegex(RuntimeError, r"at item \[1\]: cannot be compared: RuntimeError: Tensor.item"):
            self.assertEqual([0, torch.ones(1, device="meta")], [0, 1])

    def test_keys_that_have_no_order(self) -> None:
        (difference,) = differences({"a": 1, 2: 1}, {"a": 1, None: 1, (3,): 1}, ComparisonRules())
        self.assertExpectedInline(
            difference.message, """the mappings have different keys; missing: None, (3,); not expected: 2"""
        )

    @given(
        st.recursive(
            st.integers() | st.text() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
        )
    )
    def test_plain_data_equals_itself(self, value: Any) -> None:
        self.assertTrue(is_equal(value, value))

    @given(st.dictionaries(st.text(), st.lists(st.integers(), min_size=1), min_size=1), st.data())
    def test_one_changed_number_is_found(self, value: dict[str, list[int]], data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(value)))
        index = data.draw(st.integers(0, len(value[key]) - 1))
        changed = {**value, key: [number + (position == index) for position, number in enumerate(value[key])]}
        self.assertEqual(places(changed, value), [f"[{key!r}][{index}]"])


class ReportTest(TestCase):
    def test_the_first_in_full_the_others_by_place(self) -> None:
        found = differences(
            [{"a": torch.tensor([1.0, 5.0])}, 3, "x"], [{"a": torch.ones(2)}, 3.5, "y"], ComparisonRules()
        )
        self.assertExpectedInline(
            report(found),
            """\
at item [0]['a']: Tensor-likes are not close!

Mismatched elements: 1 / 2 (50.0%)
Greatest absolute difference: 4.0 at index (1,) (up to 1e-05 allowed)
Greatest relative difference: 4.0 at index (1,) (up to 1.3e-06 allowed)

Different too: [1], [2]""",
        )

    def test_ten_other_places_are_all_named(self) -> None:
        text = report(differences(list(range(11)), list(range(1, 12)), ComparisonRules()))
        self.assertTrue(text.endswith("Different too: [1], [2], [3], [4], [5], [6], [7], [8], [9], [10]"), text)

    def test_many_places_are_counted(self) -> None:
        text = report(differences(list(range(20)), list(range(1, 21)), ComparisonRules()))
        self.assertTrue(
            text.endswith("Different too: [1], [2], [3], [4], [5], [6], [7], [8], [9], [10] and 9 more"), text
        )


class ShardsTest(TestCase):
    def test_they_are_compared_with_dtensors_alone(self) -> None:
        import torch.distributed as dist
        from torch.distributed.tensor import DTensor, Shard

        with tempfile.TemporaryDirectory() as folder:
            dist.init_process_group("gloo", rank=0, world_size=1, init_method=f"file://{folder}/rendezvous")
            self.addCleanup(dist.destroy_process_group)
            one = DTensor.from_local(torch.ones(2), dist.init_device_mesh("cpu", (1,)), [Shard(0)])
            self.assertTrue(is_equal(one, one + 0))
            self.assertFalse(is_equal(one, one + 1))
            (difference,) = differences(one, "a", ComparisonRules())
            self.assertIs(AssertionError, difference.error, "it is no number, and so no wrong comparison")
            for other, what in ((torch.ones(2), "a plain tensor"), (2.0, "a number")):
                for pair in ((one, other), (other, one)):
                    (difference,) = differences(*pair, ComparisonRules())
                    self.assertIn(f"a DTensor and {what} cannot be compared", difference.message)


class RulesTest(TestCase):
    def test_one_tolerance_alone_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "atol is given without rtol"):
            ComparisonRules(atol=1.0)
        with self.assertRaisesRegex(ValueError, "rtol is given without atol"):
            ComparisonRules(rtol=0.0)

    def test_only_dtypes_have_to_agree_where_nothing_is_said(self) -> None:
        rules = ComparisonRules()
        others = (rules.device, rules.layout, rules.stride, rules.is_coalesced)
        self.assertEqual((True, True, (False,) * 4), (rules.dtype, rules.equal_nan, others))

    def test_least_tolerances_only_widen(self) -> None:
        self.assertTrue(is_equal(1.0, 1.1, least_atol=0.2))
        self.assertTrue(is_equal(torch.tensor(1.0), torch.tensor(1.1), least_rtol=0.2))
        self.assertTrue(is_equal(1.0, 1.1, atol=0.2, rtol=0.0, least_atol=0.01))
        self.assertFalse(is_equal(1.0, 1.1, atol=0.0, rtol=0.0, least_atol=0.01))


if __name__ == "__main__":
    run_tests()
