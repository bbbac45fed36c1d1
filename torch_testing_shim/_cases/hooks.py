"""Methods of upstream's base classes that subclasses put others in place of.

Nearly all are called here as upstream calls them. A class that overrides one of the few others is told so at its first
test: what it does there would silently be left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch_testing_shim._engine.job import LaunchError

__all__ = ["is_overridden", "refuse_hooks", "takes"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def is_overridden(cls: type, base: type, name: str) -> bool:
    """Whether a class has something else than `base`, a base of it, under a name that `base` may lack."""
    return inspect.getattr_static(cls, name, None) is not inspect.getattr_static(base, name, None)


def refuse_hooks(cls: type, base: type, refused: Mapping[str, str]) -> None:
    """Checks that a class overrides nothing that is not called here.

    Args:
        cls: the class.
        base: the base class, of this package.
        refused: names -> what this harness does instead.

    Raises:
        LaunchError: it does.
    """
    for name, instead in refused.items():
        if is_overridden(cls, base, name):
            raise LaunchError(f"{cls.__name__} overrides {name}, which this harness does not call: {instead}")


def takes(function: Callable[..., Any], *args: Any) -> bool:
    """Whether a function can be called with these arguments: a hook may have those of an older torch."""
    try:
        inspect.signature(function).bind(*args)
    except TypeError:
        return False
    return True
