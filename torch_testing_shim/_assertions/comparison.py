"""The differences between two values, each with its place: the meaning of `assertEqual`.

`differences` walks two values side by side through sequences and mappings, and has `leaves` compare each pair of other
values. Values of different kinds that tests regard as equal are brought to one kind first: a tensor may be compared
with a list of numbers, numpy's values with torch's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.testing._comparison import ErrorMeta

from torch_testing_shim._assertions.leaves import ComparisonRules as ComparisonRules, compare_leaves, differ

__unittest = True  # unittest and pytest leave the frames of this module out of a report

#: How many places a report names before it only counts them.
PLACES_LISTED = 10
#: The types that are compared item by item, and key by key.
_SEQUENCES = (Sequence, torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ParameterList, torch._C.ScriptList)
_MAPPINGS = (Mapping, torch.nn.ModuleDict, torch.nn.ParameterDict, torch._C.ScriptDict)

Path = tuple[Any, ...]


@dataclass(frozen=True)
class Difference:
    """One place where two values differ."""

    path: Path  # the indices and keys that lead there; empty where the values themselves differ
    message: str
    error: type[Exception] = AssertionError  # another one where the two cannot be compared at all

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
        actual, expected = _made_comparable(actual, expected, is_inside=bool(path))
        if _is_sequence(actual) and _is_sequence(expected):
            children = _indices(actual, expected)
        elif _is_mapping(actual) and _is_mapping(expected):
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


def _is_sequence(value: Any) -> bool:
    return isinstance(value, _SEQUENCES) and not isinstance(value, (str, bytes, bytearray))


def _is_mapping(value: Any) -> bool:
    return isinstance(value, _MAPPINGS)


def _made_comparable(actual: Any, expected: Any, *, is_inside: bool = False) -> tuple[Any, Any]:
    """Return the two values, brought to one kind where that loses nothing.

    Args:
        is_inside: they are items of a container; there a list of numbers is no longer taken for a tensor, as upstream
            has it, but may be taken for an array.

    Raises:
        ErrorMeta: of type ValueError, where a sequence cannot be read as a tensor; of type AssertionError, where one
            value alone is a nested tensor.
    """
    if isinstance(actual, torch.TypedStorage) and isinstance(expected, torch.TypedStorage):
        return _tensor_of_storage(actual), _tensor_of_storage(expected)
    if _is_nested(actual) or _is_nested(expected):
        if not (_is_nested(actual) and _is_nested(expected)):
            raise differ("one is a nested tensor and the other is none")
        return actual.unbind(), expected.unbind()
    may_be_read = not is_inside or _is_array(actual) or _is_array(expected)
    actual, expected = _without_numpy(actual), _without_numpy(expected)
    if may_be_read and isinstance(actual, torch.Tensor) and _is_plain_sequence(expected):
        return _tensor_and_sequence(actual, expected)
    if may_be_read and isinstance(expected, torch.Tensor) and _is_plain_sequence(actual):
        expected, actual = _tensor_and_sequence(expected, actual)
    return actual, expected


def _is_plain_sequence(value: Any) -> bool:
    return _is_sequence(value) and isinstance(value, Sequence)


def _is_nested(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_nested and value.layout == torch.strided


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")  # where nobody has imported numpy, no value is numpy's
    return numpy is not None and isinstance(value, numpy.ndarray)


def _without_numpy(value: Any) -> Any:
    """Return a value of numpy as the torch or Python value that it stands for."""
    if _is_array(value):
        return _tensor_of_array(value)
    numpy = sys.modules.get("numpy")
    return value.item() if numpy is not None and isinstance(value, numpy.generic) else value


def _tensor_of_storage(storage: Any) -> torch.Tensor:
    return torch.tensor(list(storage), dtype=storage.dtype)


def _tensor_of_array(array: Any) -> Any:
    try:
        return torch.as_tensor(array.copy())  # torch takes neither negative strides nor, without a warning, read-only
    except TypeError:  # a dtype that torch does not have
        return array.tolist()


def _tensor_and_sequence(tensor: torch.Tensor, sequence: Any) -> tuple[torch.Tensor, torch.Tensor]:
    try:
        natural = torch.as_tensor(sequence)
        if _order_of_kind(natural.dtype) > _order_of_kind(tensor.dtype):
            # A 1.5 in the sequence must not become equal to 1 by being read as an integer.
            return tensor.to(natural.dtype), natural.to(tensor.device)
        return tensor, torch.as_tensor(sequence, dtype=tensor.dtype, device=tensor.device)
    except (TypeError, ValueError, RuntimeError) as error:
        message = f"a tensor of {tensor.dtype} and a {type(sequence).__name__} cannot be compared: {error}"
        raise ErrorMeta(ValueError, message) from None


def _order_of_kind(dtype: torch.dtype) -> int:
    if dtype.is_complex:
        return 3
    if dtype.is_floating_point:
        return 2
    return 0 if dtype == torch.bool else 1
