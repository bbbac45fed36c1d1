"""A part of a process's state that is kept and put back, and parts for attributes of modules and objects.

A part is read when a rank starts and after each test. Where the two differ it is put back, and read once more: a part
that still differs, or that raises, could not be put back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, MutableMapping, MutableSequence, MutableSet
from dataclasses import dataclass
from typing import Any

__unittest = True  # unittest and pytest leave the frames of this module out of a report

#: Stands for an attribute that is not there, or whose module is not loaded.
_ABSENT: Any = object()


@dataclass(frozen=True)
class Part:
    """A part of the state of this process."""

    name: str  # how a sentence names it
    read: Callable[[], Any]  # returns its value, which stays as it is whatever happens to the part
    restore: Callable[[Any], object]  # puts back a value that `read` has returned
    is_checked: bool = True  # it is read again after it has been put back


def put_back(part: Part, kept: Any) -> str | None:
    """Put a part back where it has changed. Return a sentence where that fails."""
    try:
        if _are_equal(part.read(), kept):
            return None
        part.restore(kept)
        if not part.is_checked or _are_equal(part.read(), kept):
            return None
        return f"{part.name}: could not be put back"
    except Exception as error:
        return f"{part.name}: could not be put back ({type(error).__name__}: {error})"


def _are_equal(one: Any, other: Any) -> bool:
    return one is other or bool(one == other)


def attributes(name: str, owner: Any, names: Iterable[str]) -> Part:
    """Return a part of attributes of an object: what they refer to, and what dictionaries, lists and sets hold."""
    wanted = tuple(names)

    def read() -> list[tuple[Any, Any]]:
        return [_with_content(getattr(owner, each, _ABSENT)) for each in wanted]

    def restore(kept: list[tuple[Any, Any]]) -> None:
        for each, (value, content) in zip(wanted, kept, strict=True):
            if value is _ABSENT:
                if hasattr(owner, each):
                    delattr(owner, each)
                continue
            _refill(value, content)
            if getattr(owner, each, _ABSENT) is not value:
                setattr(owner, each, value)

    return Part(name, read, restore)


def module_global(module: str, attribute: str, fresh: Any = _ABSENT) -> Part:
    """Return a part of a global of a module that a test may be the first to import.

    Args:
        module: the module's name.
        attribute: the global's name.
        fresh: its value after the import, which it gets where the module has been imported since; by default the
            container that it is becomes empty.
    """

    def read() -> Any:
        return _with_content(getattr(sys.modules.get(module), attribute, _ABSENT))

    def restore(kept: tuple[Any, Any]) -> None:
        now = getattr(sys.modules.get(module), attribute, _ABSENT)
        value, content = kept if kept[0] is not _ABSENT else (now, type(now)()) if fresh is _ABSENT else (fresh, fresh)
        _refill(value, content)
        if now is not value:
            setattr(sys.modules[module], attribute, value)

    return Part(f"{module}.{attribute}", _read_where_changed(read, fresh), restore, is_checked=False)


def _read_where_changed(read: Callable[[], Any], fresh: Any) -> Callable[[], Any]:
    """Return a `read` for which a fresh value is the same as an absent module."""

    def read_fresh_as_absent() -> Any:
        value, content = read()
        is_fresh = value is fresh or (fresh is _ABSENT and _is_container(value) and not content)
        return (_ABSENT, None) if is_fresh or value is _ABSENT else (value, content)

    return read_fresh_as_absent


def _with_content(value: Any) -> tuple[Any, Any]:
    """Return the value, and a copy of a container's content, which compares equal as long as it is the same."""
    if isinstance(value, MutableMapping):
        return value, dict(value)
    if isinstance(value, MutableSequence):
        return value, list(value)
    return (value, set(value)) if isinstance(value, MutableSet) else (value, None)


def _is_container(value: Any) -> bool:
    return isinstance(value, MutableMapping | MutableSequence | MutableSet)


def _refill(value: Any, content: Any) -> None:
    if isinstance(value, MutableMapping | MutableSet):
        value.clear()
        value.update(content) if isinstance(value, MutableMapping) else [value.add(each) for each in content]
    elif isinstance(value, MutableSequence):
        value[:] = content
