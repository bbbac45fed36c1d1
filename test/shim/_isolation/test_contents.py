"""A summary changes with the value that it was made of, however deep the change lies, and only then."""

import argparse
import functools
import io
import itertools
import queue
import random
import threading
import types
from unittest import mock

import numpy
import torch
from hypothesis import given, strategies

from torch_testing_shim._isolation.contents import Summaries
from torch_testing_shim.common_utils import TestCase, run_tests


class OfTests:
    def __init__(self):
        self.values = [1]


class Slotted:
    __slots__ = ("value",)


def made_function():
    state = [0]

    def function(number=[]):  # noqa: B006
        return state, number

    return function, state


FUNCTION, STATE = made_function()
CACHED = functools.cache(lambda number: number)
LAYER = torch.nn.Linear(1, 1)
#: Values, each with a change of it.
CHANGES = {
    "list": (value := [1], lambda value=value: value.append(2)),
    "nested": (value := {"a": [{"b": [1]}]}, lambda value=value: value["a"][0]["b"].append(2)),
    "dictionary": (value := {"a": 1}, lambda value=value: value.update(a=2)),
    "set": (value := {1}, lambda value=value: value.add(2)),
    "bytes": (value := bytearray(1), lambda value=value: value.append(2)),
    "counter": (value := itertools.count(), lambda value=value: next(value)),
    "generator": (value := random.Random(1), lambda value=value: value.random()),
    "object": (value := OfTests(), lambda value=value: value.values.append(2)),
    "namespace": (value := types.SimpleNamespace(a=1), lambda value=value: setattr(value, "a", 2)),
    "slots": (value := Slotted(), lambda value=value: setattr(value, "value", 2)),
    "parsed arguments": (value := argparse.Namespace(a=1), lambda value=value: setattr(value, "a", 2)),
    "values of a thread": (value := threading.local(), lambda value=value: setattr(value, "a", 2)),
    "event": (value := threading.Event(), lambda value=value: value.set()),
    "queue": (value := queue.Queue(), lambda value=value: value.put(1)),
    "simple queue": (value := queue.SimpleQueue(), lambda value=value: value.put(1)),
    "stream": (value := io.StringIO(), lambda value=value: value.write("a")),
    "iterator": (value := iter([1, 2]), lambda value=value: next(value)),
    "generator that yields": (value := (n for n in (1, 2)), lambda value=value: next(value)),
    "mock": (value := mock.Mock(), lambda value=value: value(1)),
    "array": (value := numpy.zeros(2), lambda value=value: value.fill(1)),
    "generator of numpy": (value := numpy.random.default_rng(1), lambda value=value: value.random()),
    "generator of torch": (value := torch.Generator(), lambda value=value: value.manual_seed(1)),
    "data of a tensor": (value := torch.zeros(2), lambda value=value: value.data.fill_(1)),
    "optimizer": (
        value := torch.optim.SGD([torch.ones(1)], 0.1),
        lambda value=value: value.param_groups[0].update(lr=1),
    ),
    "tensor that requires a gradient": (value := torch.ones(1), lambda value=value: value.requires_grad_()),
    "hook of a tensor": (value := torch.ones(1, requires_grad=True), lambda value=value: value.register_hook(print)),
    "data set": (
        value := torch.utils.data.TensorDataset(torch.ones(1)),
        lambda value=value: setattr(value, "tensors", ()),
    ),
    "partial": (value := functools.partial(print, [1]), lambda value=value: value.args[0].append(2)),
    "bound method": (value := [1].append, lambda value=value: value(2)),
    "tensor": (value := torch.ones(1), lambda value=value: value.add_(1)),
    "gradient": (value := torch.ones(1, requires_grad=True), lambda value=value: value.sum().backward()),
    "layer": (LAYER, lambda: torch.nn.init.zeros_(LAYER.weight)),
    "mode of a layer": (LAYER, LAYER.eval),
    "attribute of a function": (FUNCTION, lambda: setattr(FUNCTION, "calls", 1)),
    "code of a function": (value := lambda: 1, lambda value=value: setattr(value, "__code__", (lambda: 2).__code__)),
    "default of a function": (FUNCTION, lambda: FUNCTION()[1].append(1)),
    "what a function closes over": (FUNCTION, lambda: STATE.append(1)),
    "method": (staticmethod(FUNCTION), lambda: STATE.append(1)),
    "cache": (CACHED, lambda: CACHED(1)),
}


class Counted(dict):
    """Counts how often its content is asked for."""

    asked = 0

    def items(self):
        self.asked += 1
        return super().items()


DATA = strategies.recursive(
    strategies.integers() | strategies.text() | strategies.none(),
    lambda children: strategies.lists(children) | strategies.dictionaries(strategies.text(), children),
)


class Summary(TestCase):
    def test_changes_with_the_value(self):
        for name, (value, change) in CHANGES.items():
            with self.subTest(name):
                summaries = Summaries()
                before = summaries.of(value)
                summaries.begin_round()
                self.assertEqual(before, summaries.of(value))
                self.assertTrue(summaries.are_as_found())
                change()
                self.assertFalse(summaries.are_as_found())
                summaries.begin_round()
                self.assertNotEqual(before, summaries.of(value))

    @given(DATA)
    def test_stays_while_nothing_changes(self, value):
        summaries = Summaries()
        before = summaries.of(value)
        summaries.begin_round()
        self.assertEqual(before, summaries.of(value))
        self.assertTrue(summaries.are_as_found())

    def test_a_container_that_grows_beyond_those_that_are_looked_into(self):
        value, summaries = list(range(1000)), Summaries()
        summaries.of(value)
        value.append(1000)
        self.assertFalse(summaries.are_as_found())
        summaries.begin_round()
        summaries.of(value)
        self.assertFalse(summaries.are_as_found())  # it is not known what it holds

    def test_looks_once_in_a_round_at_a_value_that_many_share(self):
        shared, summaries = Counted(a=[1]), Summaries()
        holders = [[shared] for _ in range(100)]
        before = summaries.of(holders)
        self.assertEqual(1, shared.asked)
        summaries.begin_round()
        self.assertIs(before, summaries.of(holders))
        self.assertEqual(2, shared.asked)

    def test_ends_in_values_that_hold_themselves(self):
        value = []
        value.append(value)
        summaries = Summaries()
        before = summaries.of(value)
        summaries.begin_round()
        self.assertEqual(before, summaries.of(value))

    def test_leaves_out_what_python_and_compilers_set(self):
        found = Summaries().of_attributes({"a": 1, "__warningregistry__": {}, "__compiled_fn_1": len, "__own__": 2})
        self.assertEqual({"a": 1, "__own__": 2}, found)


if __name__ == "__main__":
    run_tests()
