"""Tells at once whether a dictionary has been changed: by the version that CPython gives it (PEP 509).

Each change of any dictionary takes the next number of the process. So a version that is still the same means that no
key and no value has been replaced, and it is read without a look at them. Python 3.14 keeps none, and other Pythons may
lay dictionaries out otherwise: there, each dictionary counts as changed whenever it is asked for.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import types
from collections.abc import Mapping
from typing import Any, Protocol

__unittest = True  # unittest and pytest leave the frames of this module out of a report

#: Where a dictionary has its version: behind the head of an object and the number of its items.
_PLACE = object.__basicsize__ + ctypes.sizeof(ctypes.c_ssize_t)
_SIZE = 48


class Version(Protocol):
    """The version of a dictionary, as long as it lives."""

    @property
    def value(self) -> object:
        """The version now."""


class _Unknown:
    @property
    def value(self) -> object:
        """A value that differs from each that was read before."""
        return object()


#: The version of anything that has none: it always differs.
UNKNOWN: Version = _Unknown()


def version_of(mapping: Any) -> Version:
    """Return the version of a dictionary, or of the one behind a class's `vars`; one that always differs for anything
    else. The caller keeps the mapping alive."""
    if type(mapping) is types.MappingProxyType:
        (mapping,) = gc.get_referents(mapping)
    return _version(mapping) if type(mapping) is dict and versions_are_known() else UNKNOWN


def _version(mapping: dict[Any, Any]) -> Version:
    return ctypes.c_uint64.from_address(id(mapping) + _PLACE)


@functools.cache
def versions_are_known() -> bool:
    """Return whether the dictionaries of this Python have versions in their place."""
    if (object.__basicsize__, dict.__basicsize__) != (16, _SIZE):
        return False
    probe: dict[str, object] = {}
    version = _version(probe)
    found = []
    for value in (1, 2):
        probe["a"] = value
        found += [version.value, version.value]
    probe.clear()
    found += [version.value, version.value]
    return found[::2] == found[1::2] and len(set(found)) == 3


class ChangeWatch:
    """Tells whether a dictionary, or another one in its place, may have been changed since it was last noted."""

    def __init__(self) -> None:
        self._mapping: Mapping[Any, Any] | None = None
        self._version: Version = UNKNOWN
        self._seen: object = None

    def note(self, mapping: Mapping[Any, Any]) -> None:
        if mapping is not self._mapping:
            self._mapping, self._version = mapping, version_of(mapping)
        self._seen = self._version.value

    def is_changed(self, mapping: Mapping[Any, Any]) -> bool:
        return mapping is not self._mapping or self._version.value != self._seen
