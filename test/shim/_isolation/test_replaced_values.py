"""A change counts where a test has made it, and not where a library has made it as it was used."""

import datetime
import enum
import functools
import types
from unittest import mock

import torch
from hypothesis import given, strategies

from torch_testing_shim._isolation.replaced_values import (
    are_equal,
    counts,
    is_changed_by_test,
    is_of_tests,
    is_wrapper_of_torch,
    replaced_names,
)
from torch_testing_shim.common_utils import TestCase, run_tests


class OfTests:
    pass


class Colour(enum.Enum):
    RED = 1


def of_tests():
    pass


FLAGS = strategies.one_of(strategies.booleans(), strategies.integers(2), strategies.text(), strategies.binary())
NAMES = strategies.text("abc", min_size=1, max_size=3)
ATTRIBUTES = strategies.dictionaries(NAMES, FLAGS, max_size=5)
WRAPPER = torch._disable_dynamo(of_tests)
#: The old value of an attribute -> the value now, and whether a test has replaced it.
CHANGES = {
    "a function by another": (len, print, True),
    "a function by a mock": (len, mock.Mock(), True),
    "a class": (dict, OfTests, True),
    "a module": (torch, types.ModuleType("torch"), True),
    "a flag by another": (True, False, True),
    "a flag by an equal one of another type": (True, 1, True),
    "a dtype": (torch.float32, torch.float64, True),
    "a time": (datetime.timedelta(1), datetime.timedelta(2), True),
    "an enumeration's member by its value": (Colour.RED, 1, True),
    "nothing by a function": (None, len, True),
    "nothing by a flag": (None, True, True),
    "nothing by an object that was made when it was asked for": (None, object(), False),
    "an object by another": (object(), object(), False),
    "a function by torch's wrapper of it": (of_tests, WRAPPER, False),
    "a function by torch's wrapper of another": (len, WRAPPER, True),
    "a function by a wrapper of a test's": (of_tests, functools.wraps(of_tests)(lambda: None), True),
}


class Attributes(TestCase):
    def test_each_kind_of_change(self):
        for name, (known, now, is_replaced) in CHANGES.items():
            with self.subTest(name):
                found = list(replaced_names({"attribute": now}, {"attribute": known}))
                self.assertEqual(["attribute"] if is_replaced else [], found)

    def test_one_that_counts_and_is_gone_was_replaced(self):
        known = {"function": len, "flag": None, "object": object()}
        self.assertEqual(["function", "flag"], list(replaced_names({}, known)))

    def test_numbers_that_count_uses(self):
        for name in ("next_id", "_nextid", "_counter", "call_count", "cache_hits", "some_epoch"):
            for known in (3, None):
                self.assertEqual([], list(replaced_names({name: 4}, {name: known})), name)
        self.assertEqual(["counted"], list(replaced_names({"counted": 4}, {"counted": 3})))
        self.assertEqual(["count"], list(replaced_names({"count": "4"}, {"count": 3})), "no number")

    @given(ATTRIBUTES, ATTRIBUTES)
    def test_flags_that_differ_and_no_others(self, known, now):
        differing = [name for name, value in known.items() if name not in now or not same(value, now[name])]
        self.assertEqual(differing, list(replaced_names(now, known)))

    def test_values_that_cannot_be_compared_are_not_equal(self):
        self.assertTrue(are_equal({"a": 1}, {"a": 1}))
        self.assertFalse(are_equal({"a": torch.ones(2)}, {"a": torch.ones(2)}))

    def test_kinds_that_tests_replace(self):
        for value in (torch, dict, staticmethod(len), classmethod(len), property(len), 1, None, Colour.RED, len):
            self.assertTrue(counts(value), repr(value))
        for value in ([], {}, object(), torch.ones(1)):
            self.assertFalse(counts(value), repr(value))


class Owners(TestCase):
    def test_what_is_of_tests(self):
        for value in (OfTests, OfTests(), of_tests, mock.Mock(), (1, (OfTests,))):
            self.assertTrue(is_of_tests(value), repr(value))
        for value in (torch.nn.Linear, torch.ones(1), torch.relu, print, 1, "name", (), [OfTests]):
            self.assertFalse(is_of_tests(value), repr(value))

    def test_a_class_of_a_module_that_is_gone_or_has_no_name_is_of_no_test(self):
        for module in ("not.imported", None, []):
            self.assertFalse(is_of_tests(type("Found", (), {"__module__": module})))

    def test_wrappers(self):
        of_profiler = functools.wraps(of_tests)(lambda: None)
        of_profiler.hooked = True
        self.assertTrue(is_wrapper_of_torch(WRAPPER))
        self.assertTrue(is_wrapper_of_torch(of_profiler))
        for value in (of_tests, functools.wraps(of_tests)(lambda: None), functools.cache(of_tests), 1):
            self.assertFalse(is_wrapper_of_torch(value), repr(value))


class Tables(TestCase):
    def test_entries_of_tests(self):
        self.assertTrue(is_changed_by_test({}, {OfTests: 1}))
        self.assertTrue(is_changed_by_test({}, {"name": of_tests}))
        self.assertTrue(is_changed_by_test([], [of_tests]))
        self.assertTrue(is_changed_by_test(set(), {(1, OfTests)}))

    def test_entries_that_were_replaced_or_removed(self):
        for value in (functools.wraps, dict, "text", (1,)):
            for now in ({}, {"a": print}):
                self.assertTrue(is_changed_by_test({"a": value}, now), (value, now))

    def test_caches_and_counts(self):
        wrapper = torch._disable_dynamo(torch.nn.Linear.forward)
        self.assertFalse(is_changed_by_test({}, {"a": 1, torch.float32: torch.nn.Linear}))
        self.assertFalse(is_changed_by_test({"a": 1}, {"a": 2}))
        self.assertFalse(is_changed_by_test({"a": object()}, {}))
        self.assertFalse(is_changed_by_test({"a": torch.nn.Linear.forward}, {"a": wrapper}))
        self.assertFalse(is_changed_by_test([1], [1, 2]))
        self.assertFalse(is_changed_by_test([len], []))

    @given(strategies.lists(FLAGS), strategies.lists(FLAGS))
    def test_flags_in_lists_and_sets_never_count(self, before, now):
        self.assertFalse(is_changed_by_test(before, now))
        self.assertFalse(is_changed_by_test(set(before), set(now)))


def same(one, other):
    return type(one) is type(other) and one == other


if __name__ == "__main__":
    run_tests()
