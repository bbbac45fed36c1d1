"""Parametrized tests: from one generic test function to one test method per case.

A decorator (`parametrize`, `reparametrize`, `decorateIf`) only leaves itself on the function, in an attribute that
`functools.wraps` carries over, so that its place among the other decorators does not matter.
`instantiate_parametrized_tests` then replaces the generic test by its cases:

    @parametrize("x", [1, 2])            Parametrizer.cases() -> Case("x_1", {"x": 1}), Case("x_2", {"x": 2})
    @parametrize("y", ["a"])                                     Case("y_a", {"y": "a"})
    def test_f(self, x, y): ...          product, top to bottom: test_f_x_1_y_a, test_f_x_2_y_a
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from torch_testing_shim._parameter_cases import Case, ConditionalDecorator, Decorator

__all__ = [
    "Parametrizer",
    "add_cases",
    "decorateIf",
    "instantiate_parametrized_tests",
    "parametrize",
    "parametrizers_of",
    "reparametrize",
    "subtest",
]

__unittest = True  # unittest and pytest leave the frames of this module out of a report

_ATTRIBUTE = "parametrizers"

Test = Callable[..., Any]
AnyTest = TypeVar("AnyTest", bound=Test)
AnyClass = TypeVar("AnyClass", bound=type)


class Parametrizer(abc.ABC):
    """A decorator that gives a generic test its cases. Subclasses say which cases; stacked ones multiply."""

    @abc.abstractmethod
    def cases(self, test_name: str) -> Iterable[Case]:
        """The cases for the test called `test_name` (a name for error messages).

        Raises:
            ValueError: the decorator is used wrongly; the message names the test.
        """

    def __call__(self, test: AnyTest) -> AnyTest:
        # A new tuple, not a list to append to: a wrapper made by functools.wraps shares values with what it wraps.
        setattr(test, _ATTRIBUTE, (self, *getattr(test, _ATTRIBUTE, ())))
        return test


@dataclass(frozen=True)
class subtest:
    """One entry of `parametrize`'s values, with a name and decorators of its own (upstream: `subtest`, torch 2.13).

    Attributes:
        arg_values: the value, or for several parameters a tuple with one value each.
        name: what the case is called instead of the generated name.
        decorators: decorators of this case alone, the innermost first; `unittest.expectedFailure` and
            `unittest.skip` work.
    """

    arg_values: Any
    name: str | None = None
    decorators: Sequence[Decorator] | None = None


class parametrize(Parametrizer):
    """Runs a test once for each of several values (upstream: `parametrize`, torch 2.13).

        @parametrize("x", [1, 2])                              # test_f_x_1, test_f_x_2
        @parametrize("x,y", [(1, "a"), (2, "b")])              # test_f_x_1_y_a, test_f_x_2_y_b
        @parametrize("x", [1, 2], name_fn=lambda x: f"no{x}")  # test_f_no1, test_f_no2
        @parametrize("x", [subtest(1, name="one")])            # test_f_one

    Numbers, strings and bools appear in names by value, dtypes and devices by value without the parameter's name,
    anything else by its position (`x0`). A dot in a name becomes an underscore. The class of the test has to be given
    to `instantiate_parametrized_tests`.

    Args:
        arg_str: names of the parameters, separated by commas.
        arg_values: one entry per case: a value, for several parameters a tuple of values, or a `subtest`.
        name_fn: called with the values of a case, returns its name.

    Raises:
        ValueError: there are no values, or an entry has not one value per parameter (both on instantiation).
    """

    def __init__(self, arg_str: str, arg_values: Iterable[Any], name_fn: Callable[..., str] | None = None) -> None:
        if not isinstance(arg_values, Iterable):
            raise ValueError(f"parametrize({arg_str!r}, ...) needs an iterable of values, not {arg_values!r}")
        self.arg_names = [name.strip() for name in arg_str.split(",") if name.strip()]
        self.arg_values = tuple(arg_values)
        self.name_fn = name_fn

    def cases(self, test_name: str) -> Iterable[Case]:
        if not self.arg_names:
            return [Case()]
        if not self.arg_values:
            raise ValueError(f"{test_name} is parametrized over {', '.join(self.arg_names)} with no values at all")
        return [self._case(test_name, position, entry) for position, entry in enumerate(self.arg_values)]

    def _case(self, test_name: str, position: int, entry: Any) -> Case:
        marked = entry if isinstance(entry, subtest) else subtest(entry)
        values = (marked.arg_values,) if len(self.arg_names) == 1 else _as_tuple(marked.arg_values)
        if len(values) != len(self.arg_names):
            raise ValueError(
                f"{test_name} has {len(self.arg_names)} parameters ({', '.join(self.arg_names)}), "
                f"but entry {position} of its values has {len(values)}: {marked.arg_values!r}"
            )
        name = marked.name or self._generated_name(position, values)
        return Case(
            name=name.replace(".", "_"),  # with a dot in it, Class.test_name could not be looked up
            arguments=dict(zip(self.arg_names, values, strict=True)),
            decorators=tuple(ConditionalDecorator(decorator) for decorator in reversed(marked.decorators or ())),
        )

    def _generated_name(self, position: int, values: tuple[Any, ...]) -> str:
        if self.name_fn is not None:
            return self.name_fn(*values)
        return "_".join(_value_name(name, position, value) for name, value in zip(self.arg_names, values, strict=True))


class reparametrize(Parametrizer):
    """Adapts the cases of another parametrizer (upstream: `reparametrize`, torch 2.13).

    Args:
        parametrizer: whose cases are adapted.
        adapter_fn: called with a case's name and its arguments. Returns an iterable of (name, arguments) to put in its
            place, in which None stands for nothing; or None to drop the case.
    """

    def __init__(
        self,
        parametrizer: Parametrizer,
        adapter_fn: Callable[[str, dict[str, Any]], Iterable[tuple[str, dict[str, Any]] | None] | None],
    ) -> None:
        self.parametrizer = parametrizer
        self.adapter_fn = adapter_fn

    def cases(self, test_name: str) -> Iterable[Case]:
        for case in self.parametrizer.cases(test_name):
            for adapted in self.adapter_fn(case.name, dict(case.arguments)) or ():
                if adapted is not None:
                    yield Case(adapted[0].replace(".", "_"), adapted[1], case.decorators)


class decorateIf(Parametrizer):
    """Decorates those cases whose arguments satisfy a predicate (upstream: `decorateIf`, torch 2.13).

        @decorateIf(unittest.expectedFailure, lambda params: params["x"] == 2)
        @parametrize("x", [1, 2])
        def test_f(self, x): ...

    Args:
        decorator: the decorator.
        predicate_fn: called with all arguments of a case, whichever decorator they come from.
    """

    def __init__(self, decorator: Decorator, predicate_fn: Callable[[Mapping[str, Any]], bool]) -> None:
        self.decorator = decorator
        self.predicate_fn = predicate_fn

    def cases(self, test_name: str) -> Iterable[Case]:
        return [Case(decorators=(ConditionalDecorator(self.decorator, self.predicate_fn),))]


def instantiate_parametrized_tests(generic_cls: AnyClass) -> AnyClass:
    """Replaces the parametrized tests of a class by one method per case; usable as a class decorator
    (upstream: `instantiate_parametrized_tests`, torch 2.13).

    Returns:
        The same class.

    Raises:
        ValueError: a decorator is used wrongly, or two tests would have the same name.
    """
    for name in dir(generic_cls):
        generic = getattr(generic_cls, name, None)
        parametrizers: tuple[Parametrizer, ...] | None = getattr(generic, _ATTRIBUTE, None)
        if generic is None or parametrizers is None:
            continue
        if name in vars(generic_cls):
            delattr(generic_cls, name)
        else:
            setattr(generic_cls, name, None)  # hides the base class's test, which cannot run without arguments
        add_cases(generic_cls, name, generic, parametrizers)
    return generic_cls


def parametrizers_of(test: Test) -> tuple[Parametrizer, ...]:
    """The decorators of a generic test that give it its cases, the outermost first; none for any other test."""
    return getattr(test, _ATTRIBUTE, ())


def add_cases(cls: type, name: str, generic: Test, parametrizers: Sequence[Parametrizer]) -> None:
    """Adds a method to `cls` for each case of the generic test called `name`.

    Raises:
        ValueError: a decorator is used wrongly, or the class has a test of that name.
    """
    for case in _product(f"{cls.__qualname__}.{name}", parametrizers):
        _add_method(cls, name, generic, case)


def _product(test_name: str, parametrizers: Sequence[Parametrizer]) -> list[Case]:
    product = [Case()]
    for parametrizer in parametrizers:
        inner_cases = list(parametrizer.cases(test_name))
        product = [outer.joined_with(inner, test_name) for outer in product for inner in inner_cases]
    return product


def _add_method(cls: type, base_name: str, generic: Test, case: Case) -> None:
    name = f"{base_name}_{case.name}" if case.name else base_name
    if name in vars(cls):
        raise ValueError(f"{cls.__qualname__}.{base_name} makes a second test called {name}; name its cases apart")
    method = _bound(generic, case.arguments)
    for conditional in reversed(case.decorators):
        if conditional.applies_to(case.arguments):
            method = conditional.decorator(method)
    method.__name__ = name
    method.__qualname__ = f"{cls.__qualname__}.{name}"
    setattr(cls, name, method)


def _bound(generic: Test, arguments: Mapping[str, Any]) -> Test:
    """A new function for each case: decorators such as unittest.expectedFailure mark the very function they get."""

    @functools.wraps(generic)
    def case(self: Any, *args: Any, **kwargs: Any) -> Any:
        return generic(self, *args, **arguments, **kwargs)

    vars(case).pop(_ATTRIBUTE, None)  # copied by wraps; the case itself is no generic test
    return case


def _as_tuple(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, Iterable) else (values,)


def _value_name(parameter: str, position: int, value: Any) -> str:
    if isinstance(value, (torch.dtype, torch.device)):
        return str(value).removeprefix("torch.")
    if isinstance(value, (int, float, str)):
        return f"{parameter}_{value}"
    return f"{parameter}{position}"
