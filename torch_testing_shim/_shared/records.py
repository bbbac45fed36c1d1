"""Dataclasses made of records that nobody has checked: objects of a JSON text, which may be torn or another's."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Made = TypeVar("Made")

#: The annotation of a field -> the types of its values in a record. Other fields are given.
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (int, float),
    "float | None": (int, float, type(None)),
}


def read_record(kind: Callable[..., Made], record: Mapping[str, Any], **given: Any) -> Made:
    """Make the dataclass `kind` of a record's values of the same names. A value that is missing is the field's default,
    and other values are ignored.

    Args:
        given: values of fields that are not taken from the record.

    Raises:
        KeyError, OverflowError, TypeError, ValueError: a value is missing, of another type, or no finite number.
    """
    values = {}
    for name, types, is_needed in _fields_of(kind):
        if name not in given and (is_needed or name in record):
            value = record[name]
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                raise TypeError(f"{name} is {value!r}")
            if isinstance(value, int | float) and not math.isfinite(value):
                raise ValueError(f"{name} is {value!r}")
            values[name] = value
    return kind(**values, **given)


@functools.cache
def _fields_of(kind: Any) -> list[tuple[str, tuple[type, ...], bool]]:
    """Each field's name, the types of its values, and whether it has no default."""
    return [
        (field.name, _TYPES.get(str(field.type), ()), field.default is dataclasses.MISSING)
        for field in dataclasses.fields(kind)
    ]
