"""Replaces special methods of types that are written in C by functions of Python, in place.

`torch.device` is final, every module of torch holds it, and code asks `type(x) is torch.device`: no other class can
take its place. So its own `__new__` is replaced, for all threads and for calls by name from C++. CPython finds the
special methods of a class written in Python by a small C function in the type's slot, which looks the method up in the
type's dictionary. Here that C function goes into the slot of the C type, and the method into its dictionary.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Mapping
from typing import Any

_SLOT_OF_METHOD = {"__new__": "new", "__eq__": "richcompare", "__ne__": "richcompare", "__hash__": "hash"}
#: Slots of a type and their positions in CPython's `PyTypeObject`, counted behind the head that every object has.
_POSITIONS = {"basicsize": 1, "hash": 12, "flags": 18, "richcompare": 22, "new": 36}
_HEAD = object.__basicsize__ + ctypes.sizeof(ctypes.c_ssize_t)


def _slot(kind: type, name: str) -> ctypes.c_ssize_t:
    return ctypes.c_ssize_t.from_address(id(kind) + _HEAD + _POSITIONS[name] * ctypes.sizeof(ctypes.c_ssize_t))


def _check_layout(kind: type) -> None:
    found = (_slot(kind, "basicsize").value, _slot(kind, "flags").value)
    assert found == (kind.__basicsize__, kind.__flags__), "CPython lays out types otherwise"


def made_by_type(kind: type) -> Callable[[type, tuple[Any, ...], Mapping[str, Any]], Any]:
    """Return the function that makes the objects of a type now, whatever replaces it later. It takes the type or a
    subclass, and the arguments."""
    _check_layout(kind)
    return ctypes.PYFUNCTYPE(*[ctypes.py_object] * 4)(_slot(kind, "new").value)


def replace_methods(kind: type, methods: Mapping[str, Callable[..., Any]]) -> None:
    """Replace special methods of a type for the rest of the process.

    Args:
        kind: a type that is written in C.
        methods: the new ones by their names, which are among `__new__`, `__eq__`, `__ne__` and `__hash__`.
    """
    _check_layout(kind)
    pattern = type("Pattern", (), {"__slots__": (), **methods})
    names = gc.get_referents(kind.__dict__)[0]  # the dictionary itself behind the view of it
    for name, method in methods.items():
        names[name] = staticmethod(method) if name == "__new__" else method
        slot = _SLOT_OF_METHOD[name]
        _slot(kind, slot).value = _slot(pattern, slot).value
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))
