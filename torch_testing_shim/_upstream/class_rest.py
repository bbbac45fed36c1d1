"""What torch's own class has besides, of which this package has written a class of the same name: torch's, on ours.

A class that says `rest_is_torchs = TorchsRest()` answers for the names that torch's class binds and ours does not, on
the class, on an instance and by `super()`. What a process does is never taken over: a class that starts processes or
judges them does not say so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch_testing_shim._upstream.graft import graft_of, locked
from torch_testing_shim._upstream.sources import source_file
from torch_testing_shim._upstream.statements import SHIM

__all__ = ["TorchsRest", "torchs_class"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: What binds a name in the body of a class; read so, since it costs a millisecond and the statements may cost a second.
_BINDING = re.compile(r"^    (?:def |class )?([a-zA-Z_]\w*)(?=\(|\s*[:=])", re.MULTILINE)


class TorchsRest:
    """Marks a class of a face whose rest is torch's, and puts a placeholder there for each name that it lacks."""

    def __set_name__(self, owner: type, name: str) -> None:
        for each in _names_in_body(owner.__module__, owner.__name__):
            if not hasattr(owner, each):
                setattr(owner, each, _Placeholder(owner, each))


class _Placeholder:
    """Stands for what torch's class has, where no other class of ours has the name."""

    def __init__(self, holder: type, name: str) -> None:
        self._holder, self._name = holder, name

    def __get__(self, instance: object, owner: type) -> Any:
        value = self._value(owner)
        get = getattr(type(value), "__get__", None)
        return value if get is None else get(value, instance, owner)

    def _value(self, owner: type) -> Any:
        """
        Raises:
            AttributeError: torch's class does not have it, for what it looked like in its source.
        """
        classes = owner.__mro__
        for each in classes[classes.index(self._holder) + 1 :]:
            if not isinstance(vars(each).get(self._name, self), _Placeholder):
                return vars(each)[self._name]
        try:
            return torchs_class(self._holder)[self._name]
        except KeyError:
            raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r}") from None


def torchs_class(ours: type) -> Mapping[str, Any]:
    """What torch's own class has that a class of a face stands for."""
    with locked():
        return graft_of(ours.__module__).made_aside(ours.__name__)


def _names_in_body(module: str, class_name: str) -> set[str]:
    """The names that torch's class binds, less those that Python gives a meaning to."""
    source = source_file(module[len(SHIM) :].lstrip("."))
    text = source.read_text(encoding="utf-8") if source is not None else ""
    body = re.search(rf"^class {class_name}\b.*\n(?:(?:[ \t#)].*)?\n)*", text, re.MULTILINE)
    found = set(_BINDING.findall(body[0])) if body is not None else set()
    return {name for name in found if not (name.startswith("__") and name.endswith("__"))}
