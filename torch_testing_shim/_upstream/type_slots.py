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
#: The slots of a type, in the order of CPython's `PyTypeObject`, behind the head that every object has.
_SLOTS = (
    "name",
    "basicsize",
    "itemsize",
    "dealloc",
    "vectorcall_offset",
    "getattr",
    "setattr",
    "as_async",
    "repr",
    "as_number",
    "as_sequence",
    "as_mapping",
    "hash",
    "call",
    "str",
    "getattro",
    "setattro",
    "as_buffer",
    "flags",
    "doc",
    "traverse",
    "clear",
    "richcompare",
    "weaklistoffset",
    "iter",
    "iternext",
    "methods",
    "members",
    "getset",
    "base",
    "dict",
    "descr_get",
    "descr_set",
    "dictoffset",
    "init",
    "alloc",
    "new",
)


class _Slots(ctypes.Structure):
    _fields_ = [
        ("head", ctypes.c_char * (object.__basicsize__ + ctypes.sizeof(ctypes.c_ssize_t))),
        *((slot, ctypes.c_ssize_t) for slot in _SLOTS),
    ]


def _slots_of(kind: type) -> _Slots:
    slots = _Slots.from_address(id(kind))
    assert (slots.basicsize, slots.flags) == (kind.__basicsize__, kind.__flags__), "CPython lays out types otherwise"
    return slots


def made_by_type(kind: type) -> Callable[[type, tuple[Any, ...], Mapping[str, Any]], Any]:
    """Returns the function that makes the objects of a type now, whatever replaces it later. It takes the type or a
    subclass, and the arguments."""
    return ctypes.PYFUNCTYPE(*[ctypes.py_object] * 4)(_slots_of(kind).new)


def replace_methods(kind: type, methods: Mapping[str, Callable[..., Any]]) -> None:
    """Replaces special methods of a type for the rest of the process.

    Args:
        kind: a type that is written in C.
        methods: the new ones by their names, which are among `__new__`, `__eq__`, `__ne__` and `__hash__`.
    """
    slots, pattern = _slots_of(kind), _slots_of(type("Pattern", (), {"__slots__": (), **methods}))
    names = gc.get_referents(kind.__dict__)[0]  # the dictionary itself behind the view of it
    for name, method in methods.items():
        names[name] = staticmethod(method) if name == "__new__" else method
        setattr(slots, _SLOT_OF_METHOD[name], getattr(pattern, _SLOT_OF_METHOD[name]))
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))
