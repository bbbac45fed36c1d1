"""Adds to a class of ours the names that only torch's class of the same name has: torch's definitions, on ours.

A class with `rest_is_torchs = TorchsRest()` answers for the names that torch's class binds and ours does not, on the
class, on an instance and by `super()`. The work of processes is never taken over: a class that starts processes or
judges them does not use it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch_testing_shim._upstream.graft import graft_of, locked
from torch_testing_shim._upstream.modules import source_file
from torch_testing_shim._upstream.rewriting import SHIM

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_Class = TypeVar("_Class", bound=type)
#: Matches a line that binds a name in the body of a class: it costs a millisecond, parsing the module up to a second.
_BINDING = re.compile(r"^    (def |class )?([a-zA-Z_]\w*)(?=\(|\s*[:=])", re.MULTILINE)


class TorchsRest:
    """Marks a class of a face whose other names are torch's, and sets a placeholder for each of these.

    Args:
        older: name of the class that an older torch has instead.
    """

    def __init__(self, older: str | None = None) -> None:
        self._older = older
        self.name = ""  # name of the class that the installed torch has

    def __set_name__(self, owner: type, name: str) -> None:
        text = _source_of(owner.__module__)
        names = [each for each in (owner.__name__, self._older) if each is not None]
        self.name, body = next(((each, body) for each in names if (body := _body_of(each, text))), (owner.__name__, ""))
        for kind, each in set(_BINDING.findall(body)):
            if not hasattr(owner, each) and not (each.startswith("__") and each.endswith("__")):
                setattr(owner, each, _Placeholder(owner, each, is_function=kind == "def "))
        self._owner = owner

    def leaves_to(self, ours: _Class) -> _Class:
        """Decorate our class of the older name: where torch's stands for both, what ours writes is left out.

        Placeholders of such names would be listed by `dir` for classes that cannot have them, and `getattr` would fail.
        """
        names = [name for name, value in vars(self._owner).items() if isinstance(value, _Placeholder)]
        for name in names if ours.__name__ == self.name else ():
            if _written_here(ours.__mro__, name) is not None:
                delattr(self._owner, name)
        return ours


class _Placeholder:
    """Stands for a name of torch's class, where no other class of ours has the name."""

    def __init__(self, holder: type, name: str, *, is_function: bool) -> None:
        self._holder, self._name, self._is_function = holder, name, is_function

    def __get__(self, instance: object, owner: type) -> Any:
        # Code that goes through all names of a class calls none of them, so torch's class is not made for it.
        if instance is None and self._is_function and self._ours(owner) is None:
            return functools.partial(self._call, owner)
        return self._bound(instance, owner)

    def _call(self, owner: type, *args: Any, **kwargs: Any) -> Any:
        return self._bound(None, owner)(*args, **kwargs)

    def _bound(self, instance: object, owner: type) -> Any:
        value = self._value(owner)
        get = getattr(type(value), "__get__", None)
        return value if get is None else get(value, instance, owner)

    def _ours(self, owner: type) -> type | None:
        """Return the class of ours behind the holder that has the name, if there is one."""
        classes = owner.__mro__
        return _written_here(classes[classes.index(self._holder) + 1 :], self._name)

    def _value(self, owner: type) -> Any:
        """Return the value of the name."""
        found = self._ours(owner)
        if found is not None:
            return vars(found)[self._name]
        if self._name in torchs_class(self._holder):
            return torchs_class(self._holder)[self._name]
        raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r}")


def _written_here(classes: Sequence[type], name: str) -> type | None:
    """Return the first of the classes that has the name, and not as a placeholder."""
    have = (each for each in classes if name in vars(each))
    return next((each for each in have if not isinstance(vars(each)[name], _Placeholder)), None)


def torchs_class(ours: type) -> Mapping[str, Any]:
    """Return the attributes of torch's own class for which a class of a face stands."""
    rest: TorchsRest = vars(ours)["rest_is_torchs"]
    with locked():
        return graft_of(ours.__module__).made_aside(rest.name)


def _source_of(module: str) -> str:
    source = source_file(module[len(SHIM) :].lstrip("."))
    return source.read_text(encoding="utf-8") if source is not None else ""


def _body_of(class_name: str, text: str) -> str:
    found = re.search(rf"^class {class_name}\b.*\n(?:(?:[ \t#)].*)?\n)*", text, re.MULTILINE)
    return found[0] if found is not None else ""
