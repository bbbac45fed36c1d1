"""Bring two values of different kinds that tests regard as equal to one kind.

A tensor may be compared with a list of numbers, numpy's values with torch's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.testing._comparison import ErrorMeta

from torch_testing_shim._assertions.leaves import differ

__unittest = True  # unittest and pytest leave the frames of this module out of a report

_SEQUENCES = (Sequence, torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ParameterList, torch._C.ScriptList)
_MAPPINGS = (Mapping, torch.nn.ModuleDict, torch.nn.ParameterDict, torch._C.ScriptDict)


def is_sequence(value: Any) -> bool:
    """Return whether a value is compared element by element."""
    return isinstance(value, _SEQUENCES) and not isinstance(value, (str, bytes, bytearray))


def is_mapping(value: Any) -> bool:
    """Return whether a value is compared key by key."""
    return isinstance(value, _MAPPINGS)


def made_comparable(actual: Any, expected: Any, *, is_inside: bool = False) -> tuple[Any, Any]:
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
    return is_sequence(value) and isinstance(value, Sequence)


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
