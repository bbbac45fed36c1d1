"""The differences between two values, each with its place: the meaning of `assertEqual`.

`differences` walks two values side by side through sequences and mappings (`normalization` says what counts as one)
and has `leaves` compare each pair of other values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch.testing._comparison import ErrorMeta

from torch_testing_shim._assertions.leaves import ComparisonRules as ComparisonRules, compare_leaves, differ
from torch_testing_shim._assertions.normalization import is_mapping, is_sequence, made_comparable

__unittest = True  # unittest and pytest leave the frames of this module out of a report

#: How many places a report names before it only counts them.
PLACES_LISTED = 10

Path = tuple[Any, ...]


@dataclass(frozen=True)
class Difference:
    """One place where two values differ.

    Attributes:
        path: the indices and keys that lead there; empty where the values themselves differ.
        message: what differs, in words.
        error: AssertionError, or another exception type where the two cannot be compared at all.
    """

    path: Path
    message: str
    error: type[Exception] = AssertionError

    @property
    def place(self) -> str:
        """Write the path as Python would: "[1]['a']"."""
        return "".join(f"[{step!r}]" for step in self.path)


def differences(actual: Any, expected: Any, rules: ComparisonRules) -> list[Difference]:
    """Return all differences between two values, in the order of the values; none where they are equal."""
    return list(_walk(actual, expected, rules, ()))


def report(found: list[Difference]) -> str:
    """Describe the first difference in full, and name the places of the others."""
    first, others = found[0], found[1:]
    text = f"at item {first.place}: {first.message}" if first.path else first.message
    if not others:
        return text
    places = ", ".join(other.place for other in others[:PLACES_LISTED])
    more = f" and {len(others) - PLACES_LISTED} more" if len(others) > PLACES_LISTED else ""
    return f"{text}\n\nDifferent too: {places}{more}"


def _walk(actual: Any, expected: Any, rules: ComparisonRules, path: Path) -> Iterator[Difference]:
    try:
        actual, expected = made_comparable(actual, expected, is_inside=bool(path))
        if is_sequence(actual) and is_sequence(expected):
            children = _indices(actual, expected)
        elif is_mapping(actual) and is_mapping(expected):
            children = _keys(actual, expected)
        else:
            compare_leaves(actual, expected, rules)
            return
    except ErrorMeta as error:
        yield Difference(path, error.msg, error.type)
        return
    except Exception as error:
        if not path:
            raise
        yield Difference(path, f"cannot be compared: {type(error).__name__}: {error}", RuntimeError)
        return
    for child in children:
        yield from _walk(actual[child], expected[child], rules, (*path, child))


def _indices(actual: Any, expected: Any) -> list[Any]:
    if len(actual) != len(expected):
        raise differ(f"the sequences have different lengths: {len(actual)} and {len(expected)}")
    return list(range(len(actual)))


def _keys(actual: Any, expected: Any) -> list[Any]:
    """Return the keys of both mappings, looked up by hash as mappings do: tensors and parameters are keys by
    identity."""
    keys = list(actual.keys())
    lists = {
        "missing": [key for key in expected.keys() if key not in actual],  # noqa: SIM118 - a ModuleDict, too
        "not expected": [key for key in keys if key not in expected],
    }
    listed = [f"{label}: {', '.join(map(repr, keys))}" for label, keys in lists.items() if keys]
    if listed:
        raise differ(f"the mappings have different keys; {'; '.join(listed)}")
    return keys
