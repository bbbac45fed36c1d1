"""Comparison of two values that hold no other values, and the message where they differ.

Tensors and numbers are compared by the classes that stand behind `torch.testing.assert_close`, so that both agree;
strings, sets and all other objects by unittest's own `assertEqual`, whose messages show a diff. A difference is
raised as torch.testing's `ErrorMeta`, which carries the exception type and the message.
"""

from __future__ import annotations

import sys
import unittest
from dataclasses import dataclass
from typing import Any

import torch
from torch.testing._comparison import BooleanPair, ErrorMeta, NumberPair, TensorLikePair, default_tolerances

__unittest = True  # unittest and pytest leave the frames of this module out of a report

# bool before int, which it is a subclass of. Numbers are as loose as float32 tensors, which tests read them from.
_DTYPE_OF_NUMBER = {bool: torch.bool, int: torch.int64, float: torch.float32, complex: torch.complex64}


@dataclass(frozen=True)
class ComparisonRules:
    """The tolerances of a comparison, and the properties in which tensors have to agree.

    Raises:
        ValueError: only one of `rtol` and `atol` is given.
    """

    #: Tolerances; None for both takes them from the dtype, as `torch.testing.assert_close` does.
    rtol: float | None = None
    atol: float | None = None
    #: No comparison is made with smaller tolerances than these.
    least_rtol: float = 0.0
    least_atol: float = 0.0
    equal_nan: bool = True  # NaN equals NaN
    #: Whether two tensors have to agree in it.
    dtype: bool = True
    device: bool = False
    layout: bool = False
    stride: bool = False
    is_coalesced: bool = False

    def __post_init__(self) -> None:
        if (self.rtol is None) != (self.atol is None):
            given, other = ("atol", "rtol") if self.rtol is None else ("rtol", "atol")
            raise ValueError(f"a comparison takes both atol and rtol or neither; {given} is given without {other}")

    def tolerances(self, *dtypes: torch.dtype) -> dict[str, Any]:
        """Return the tolerances for values of these dtypes, as keyword arguments of a pair."""
        if self.rtol is None or self.atol is None:
            rtol, atol = default_tolerances(*dtypes)
        else:
            rtol, atol = self.rtol, self.atol
        return {"rtol": max(rtol, self.least_rtol), "atol": max(atol, self.least_atol)}


def differ(message: str) -> ErrorMeta:
    """Make the error that is raised where two values differ."""
    return ErrorMeta(AssertionError, message)


def compare_leaves(actual: Any, expected: Any, rules: ComparisonRules) -> None:
    """Compare two values. Raise ErrorMeta where they differ (its type is AssertionError), or cannot be compared
    (TypeError or ValueError)."""
    if _is_numeric(actual) and _is_numeric(expected):
        actual, expected = _local_shards(actual, expected)
    if isinstance(actual, torch.Tensor) and isinstance(expected, torch.Tensor):
        _compare_tensors(actual, expected, rules)
    elif isinstance(actual, bool) and isinstance(expected, bool):
        BooleanPair(actual, expected, id=()).compare()
    elif _is_numeric(actual) and _is_numeric(expected):
        dtypes = [_dtype_of(value) for value in (actual, expected)]
        numbers = [_plain_number(value) for value in (actual, expected)]
        NumberPair(*numbers, equal_nan=rules.equal_nan, **rules.tolerances(*dtypes)).compare()
    elif actual is None or expected is None:
        if actual is not expected:
            raise differ(f"{actual!r} is not {expected!r}")
    else:
        _compare_objects(actual, expected)


def _is_numeric(value: Any) -> bool:
    return isinstance(value, (bool, int, float, complex, torch.Tensor))


def _dtype_of(value: Any) -> torch.dtype:
    if isinstance(value, torch.Tensor):
        return value.dtype
    return next(dtype for kind, dtype in _DTYPE_OF_NUMBER.items() if isinstance(value, kind))


def _plain_number(value: Any) -> int | float | complex:
    """Return `value` as exactly int, float or complex: NumberPair knows no subclasses, and bool is one."""
    if isinstance(value, torch.Tensor):
        if value.numel() != 1:
            raise differ(f"a tensor of {value.numel()} elements (shape {tuple(value.shape)}) is no number")
        value = value.item()
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, float) else complex(value)


class _TensorPair(TensorLikePair):
    """Compares any two tensors; torch's class refuses two that are of unrelated subclasses."""

    def _process_inputs(self, actual: Any, expected: Any, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
        for tensor in (actual, expected):
            self._check_supported(tensor, id=options["id"])
        return actual, expected


def _compare_tensors(actual: torch.Tensor, expected: torch.Tensor, rules: ComparisonRules) -> None:
    if rules.is_coalesced:
        _compare_coalescence(actual, expected)
    _TensorPair(
        actual,
        expected,
        equal_nan=rules.equal_nan,
        check_dtype=rules.dtype,
        check_device=rules.device,
        check_layout=rules.layout,
        check_stride=rules.stride,
        **rules.tolerances(actual.dtype, expected.dtype),
    ).compare()


def _compare_coalescence(actual: torch.Tensor, expected: torch.Tensor) -> None:
    if not actual.layout == expected.layout == torch.sparse_coo:
        return
    if actual.is_coalesced() != expected.is_coalesced():
        raise differ(f"is_coalesced() differs: {actual.is_coalesced()} and {expected.is_coalesced()}")


def _local_shards(actual: Any, expected: Any) -> tuple[Any, Any]:
    """Return two DTensors of one placement as their local shards, other tensors and numbers as they are. That needs no
    communication, so a rank that compares alone does not wait for the others. DTensors that are placed differently, or
    summed up later, are compared as a whole, since upstream's operators redistribute them (torch 2.6)."""
    module = sys.modules.get("torch.distributed.tensor")  # where nobody has imported it, there is no DTensor
    if module is None:
        return actual, expected
    is_distributed = [isinstance(tensor, module.DTensor) for tensor in (actual, expected)]
    if not any(is_distributed):
        return actual, expected
    if not all(is_distributed):
        other = expected if is_distributed[0] else actual
        what = "a plain tensor" if isinstance(other, torch.Tensor) else "a number"
        message = f"a DTensor and {what} cannot be compared; take full_tensor() or to_local() of the DTensor"
        raise ErrorMeta(TypeError, message)
    for attribute in ("shape", "device_mesh"):
        one, other = getattr(actual, attribute), getattr(expected, attribute)
        if one != other:
            raise differ(f"the DTensors have different {attribute}: {one} and {other}")
    is_alike = actual.placements == expected.placements and not any(each.is_partial() for each in actual.placements)
    with torch.no_grad():
        return (actual.to_local(), expected.to_local()) if is_alike else (actual.full_tensor(), expected.full_tensor())


def _compare_objects(actual: Any, expected: Any) -> None:
    try:
        unittest.TestCase().assertEqual(actual, expected)
    except AssertionError as error:
        raise differ(str(error)) from None
