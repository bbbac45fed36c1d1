"""Names, arguments and decorators of parametrized tests: torch's own, and what this harness relies on."""

from __future__ import annotations

import functools
import pickle
import unittest
from collections.abc import Callable
from typing import Any

import torch

from torch_testing_shim.common_utils import (
    TestCase,
    decorateIf,
    instantiate_parametrized_tests,
    parametrize,
    reparametrize,
    run_tests,
    subtest,
)


def sample(*decorators: Callable[[Any], Any]) -> type[unittest.TestCase]:
    """A class whose one generic test is decorated (the first decorator stands on top) and keeps its arguments."""

    class Sample(unittest.TestCase):
        def test_f(self, **arguments: Any) -> None:
            self.arguments = arguments

    test: Any = Sample.__dict__["test_f"]
    for decorator in reversed(decorators):
        test = decorator(test)
    Sample.test_f = test  # type: ignore[method-assign]
    return Sample


def instantiated(*decorators: Callable[[Any], Any]) -> type[unittest.TestCase]:
    return instantiate_parametrized_tests(sample(*decorators))


def cases(cls: type[unittest.TestCase]) -> dict[str, dict[str, Any]]:
    """The arguments that each test of a class was run with."""
    found = {}
    for name in unittest.TestLoader().getTestCaseNames(cls):
        case: Any = cls(name)
        result = unittest.TestResult()
        case.run(result)
        found[name] = getattr(case, "arguments", None)
        if result.errors or result.failures:
            raise AssertionError(result.errors or result.failures)
    return found


def with_something(test: Any) -> Any:
    """A decorator as `with_comms` is one."""

    @functools.wraps(test)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.something = True
        return test(self, *args, **kwargs)

    return wrapper


class NamesTest(TestCase):
    def test_by_value(self) -> None:
        self.assertEqual(
            cases(instantiated(parametrize("x", [1, 2.5, "a", True]))),
            {
                "test_f_x_1": {"x": 1},
                "test_f_x_2_5": {"x": 2.5},
                "test_f_x_a": {"x": "a"},
                "test_f_x_True": {"x": True},
            },
        )

    def test_dtypes_and_devices_stand_alone_and_objects_are_counted(self) -> None:
        values = [torch.float32, torch.device("cpu"), None, (1, 2)]
        names = ["test_f_float32", "test_f_cpu", "test_f_x2", "test_f_x3"]
        self.assertEqual(sorted(cases(instantiated(parametrize("x", values)))), sorted(names))

    def test_several_parameters(self) -> None:
        expected = {"test_f_x_1_y_a": {"x": 1, "y": "a"}, "test_f_x_2_y_b": {"x": 2, "y": "b"}}
        self.assertEqual(cases(instantiated(parametrize("x, y", [(1, "a"), (2, "b")]))), expected)

    def test_stacked_decorators_multiply_from_top_to_bottom(self) -> None:
        found = cases(instantiated(parametrize("a", [1, 2]), parametrize("b", [3]), parametrize("c", [4, 5])))
        self.assertEqual(
            list(found), ["test_f_a_1_b_3_c_4", "test_f_a_1_b_3_c_5", "test_f_a_2_b_3_c_4", "test_f_a_2_b_3_c_5"]
        )
        self.assertEqual(found["test_f_a_2_b_3_c_4"], {"a": 2, "b": 3, "c": 4})

    def test_the_place_among_other_decorators_does_not_matter(self) -> None:
        x, y = parametrize("x", [1]), parametrize("y", [2])
        for decorators in [(with_something, x, y), (x, with_something, y), (x, y, with_something)]:
            cls = instantiated(*decorators)
            case: Any = cls("test_f_x_1_y_2")
            case.run(unittest.TestResult())
            self.assertEqual((case.arguments, case.something), ({"x": 1, "y": 2}, True))


class MethodsTest(TestCase):
    def test_a_method_is_found_by_name(self) -> None:
        cls, name = pickle.loads(pickle.dumps((LookedUp, "test_f_x_1")))
        self.assertIs(getattr(cls, name), LookedUp.__dict__[name])


class DecoratorsTest(TestCase):
    def outcome(self, cls: type[unittest.TestCase], name: str) -> str:
        result = unittest.TestResult()
        cls(name).run(result)
        for label in ("skipped", "expectedFailures", "unexpectedSuccesses", "errors", "failures"):
            if getattr(result, label):
                return label
        return "passed"

    def test_a_subtest_decorates_its_own_case(self) -> None:
        values = [1, subtest(2, decorators=[unittest.skip("no")]), subtest(3, decorators=[unittest.expectedFailure])]
        cls = instantiated(parametrize("x", values))
        outcomes = {name: self.outcome(cls, name) for name in ("test_f_x_1", "test_f_x_2", "test_f_x_3")}
        self.assertEqual(list(outcomes.values()), ["passed", "skipped", "unexpectedSuccesses"])

    def test_decorate_if_sees_the_arguments_of_all_decorators(self) -> None:
        skip_one = decorateIf(unittest.skip("no"), lambda params: params["x"] == 2 and params["y"] == "b")
        x, y = parametrize("x", [1, 2]), parametrize("y", ["a", "b"])
        for decorators in [(skip_one, x, y), (x, skip_one, y), (x, y, skip_one)]:
            cls = instantiated(*decorators)
            skipped = [n for n in unittest.TestLoader().getTestCaseNames(cls) if self.outcome(cls, n) == "skipped"]
            self.assertEqual(skipped, ["test_f_x_2_y_b"])

    def test_decorators_apply_from_the_inside(self) -> None:
        order = []

        def noting(label: str) -> Callable[[Any], Any]:
            return lambda test: order.append(label) or test  # type: ignore[func-returns-value]

        instantiated(
            decorateIf(noting("outer"), lambda _: True),
            parametrize("x", [subtest(1, decorators=[noting("first"), noting("second")])]),
        )
        self.assertEqual(order, ["first", "second", "outer"])

    def test_reparametrize_adapts_drops_and_adds(self) -> None:
        def adapted(name: str, arguments: dict[str, Any]) -> Any:
            x = arguments["x"]
            if x == 0:
                return None
            return [(f"{name}_{sign}", {"x": x, "s": sign}) if x < 3 else None for sign in ("p", "m")]

        found = cases(instantiated(reparametrize(parametrize("x", range(4)), adapted)))
        self.assertEqual(list(found), ["test_f_x_1_m", "test_f_x_1_p", "test_f_x_2_m", "test_f_x_2_p"])
        self.assertEqual(found["test_f_x_1_m"], {"x": 1, "s": "m"})


@instantiate_parametrized_tests
class LookedUp(TestCase):
    @parametrize("x", [1])
    def test_f(self, x: int) -> None:
        self.assertEqual(x, 1)


if __name__ == "__main__":
    run_tests()
