"""One set of arguments for a parametrized test: `Case`, and how two of them join (see `_parametrization`). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Case", "ConditionalDecorator", "Decorator"]

__unittest = True  # unittest and pytest leave the frames of this module out of a report

Decorator = Callable[[Any], Any]


@dataclass(frozen=True)
class ConditionalDecorator:
    """A decorator for those cases whose arguments satisfy `applies_to`."""

    decorator: Decorator
    applies_to: Callable[[Mapping[str, Any]], bool] = lambda arguments: True


@dataclass(frozen=True)
class Case:
    """One set of arguments for a generic test.

    Attributes:
        name: what is appended to the test's name, after an underscore; may be empty.
        arguments: values by parameter name.
        decorators: what the generated method is decorated with, the outermost first.
    """

    name: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    decorators: tuple[ConditionalDecorator, ...] = ()

    def joined_with(self, inner: Case, test_name: str) -> Case:
        """The case that gives the test the arguments of both; `self` belongs to the outer decorator."""
        twice = sorted(self.arguments.keys() & inner.arguments.keys())
        if twice:
            raise ValueError(f"{test_name} is parametrized more than once over {', '.join(twice)}")
        return Case(
            name="_".join(name for name in (self.name, inner.name) if name),
            arguments={**self.arguments, **inner.arguments},
            decorators=self.decorators + inner.decorators,
        )
