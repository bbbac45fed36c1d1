"""Pairs of values and options of `assertEqual`: for the table of what equals what."""

from __future__ import annotations

import collections
import datetime
import decimal
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from equality_samples import Point, Record, csr, nested, quantized

Pair = tuple[Any, Any]
NAN = float("nan")


def ones(*shape: int, **options: Any) -> torch.Tensor:
    return torch.ones(*shape, **options)


def uncoalesced() -> torch.Tensor:
    return torch.sparse_coo_tensor([[0, 0]], [1.0, 2.0], (1,), check_invariants=False)


def scaled(scale: float) -> torch.Tensor:
    return torch.quantize_per_tensor(torch.tensor([1.0]), scale, 0, torch.qint8)


#: By name: what makes the pair, and the options.
OPTIONS: dict[str, tuple[Callable[[], Pair], dict[str, Any]]] = {
    # Numbers.
    "ints that differ": (lambda: (1, 2), {}),
    "ints within atol": (lambda: (1, 2), {"atol": 1, "rtol": 0}),
    "floats within float32's tolerance": (lambda: (1.0, 1.0 + 1e-6), {}),
    "floats beyond it": (lambda: (1.0, 1.0 + 1e-4), {}),
    "floats, no tolerance": (lambda: (1.0, 1.0 + 1e-6), {"atol": 0, "rtol": 0}),
    "an int and a float nearby": (lambda: (1, 1.0 + 1e-6), {}),
    "large ints that differ by one": (lambda: (2**53, 2**53 + 1), {}),
    "zeros of both signs": (lambda: (0.0, -0.0), {}),
    "infinities of both signs": (lambda: (float("inf"), -float("inf")), {}),
    "NaN and NaN, equal_nan=False": (lambda: (NAN, NAN), {"equal_nan": False}),
    "NaN and a number": (lambda: (NAN, 1.0), {}),
    "complex NaN": (lambda: (complex(NAN, 1), complex(NAN, 2)), {}),
    "bools that differ, within atol": (lambda: (True, False), {"atol": 1, "rtol": 0}),
    "a bool and an int, within atol": (lambda: (True, 2), {"atol": 1, "rtol": 0}),
    "strings, with tolerance": (lambda: ("a", "a"), {"atol": 1, "rtol": 0}),
    "Decimals within atol": (lambda: (decimal.Decimal(1), decimal.Decimal("1.0000001")), {"atol": 1, "rtol": 0}),
    "atol alone": (lambda: (1.0, 1.0), {"atol": 1}),
    "rtol alone": (lambda: (1.0, 1.0), {"rtol": 1}),
    "atol alone, strings": (lambda: ("a", "a"), {"atol": 1}),
    # Tensors.
    "tensors within their dtype's tolerance": (lambda: (ones(1), ones(1) + 1e-6), {}),
    "double tensors beyond theirs": (lambda: (ones(1).double(), ones(1).double() + 1e-5), {}),
    "half tensors within theirs": (lambda: (ones(1).half(), ones(1).half() + 5e-4), {}),
    "a tensor and a number nearby": (lambda: (ones(1), 1.0 + 1e-6), {}),
    "a double tensor and a number nearby": (lambda: (ones(1).double(), 1.0 + 1e-6), {}),
    "int tensors within atol": (lambda: (torch.tensor([1]), torch.tensor([2])), {"atol": 1, "rtol": 0}),
    "bool tensors within atol": (lambda: (torch.tensor([True]), torch.tensor([False])), {"atol": 1, "rtol": 0}),
    "int tensors, large": (lambda: (torch.tensor([2**53]), torch.tensor([2**53 + 1])), {}),
    "uint8 and int8": (lambda: (torch.tensor([255], dtype=torch.uint8), torch.tensor([-1], dtype=torch.int8)), {}),
    "uint8 and int8, exact_dtype=False": (
        lambda: (torch.tensor([255], dtype=torch.uint8), torch.tensor([-1], dtype=torch.int8)),
        {"exact_dtype": False},
    ),
    "dtypes": (lambda: (ones(1), ones(1).double()), {}),
    "dtypes, exact_dtype=False": (lambda: (ones(1), ones(1).double()), {"exact_dtype": False}),
    "float and int, exact_dtype=False": (lambda: (ones(1), ones(1).int()), {"exact_dtype": False}),
    "devices": (lambda: (ones(1), ones(1, device="meta")), {}),
    "devices, exact_device": (lambda: (ones(1), ones(1, device="meta")), {"exact_device": True}),
    "meta tensors of two dtypes": (lambda: (ones(1, device="meta"), ones(1, device="meta").double()), {}),
    "meta tensors of two shapes": (lambda: (ones(1, device="meta"), ones(2, device="meta")), {}),
    "layouts": (lambda: (ones(1), ones(1).to_sparse()), {}),
    "layouts, exact_layout": (lambda: (ones(1), ones(1).to_sparse()), {"exact_layout": True}),
    "strides": (lambda: (ones(2, 3), ones(3, 2).t()), {}),
    "strides, exact_stride": (lambda: (ones(2, 3), ones(3, 2).t()), {"exact_stride": True}),
    "shapes": (lambda: (ones(2, 1), ones(2)), {}),
    "shapes of nothing": (lambda: (ones(0), ones(0, 3)), {}),
    "one element and none": (lambda: (ones(1), ones(0)), {}),
    "a tensor and a list of other length": (lambda: (ones(2), [1.0]), {}),
    "an int tensor and a list of floats": (lambda: (torch.tensor([1, 2]), [1.5, 2.0]), {}),
    "a tensor and a ragged list": (lambda: (ones(2), [[1.0], [1.0, 1.0]]), {}),
    "NaN tensors": (lambda: (torch.tensor([NAN]), torch.tensor([NAN])), {}),
    "NaN tensors, equal_nan=False": (lambda: (torch.tensor([NAN]), torch.tensor([NAN])), {"equal_nan": False}),
    "infinite tensors of both signs": (lambda: (torch.tensor([float("inf")]), torch.tensor([-float("inf")])), {}),
    "requires_grad": (lambda: (ones(1), ones(1, requires_grad=True)), {}),
    "conjugates": (lambda: (torch.tensor([1 + 2j]).conj(), torch.tensor([1 - 2j])), {}),
    "coalesced and not": (lambda: (uncoalesced(), uncoalesced().coalesce()), {}),
    "coalesced and not, exact_is_coalesced": (
        lambda: (uncoalesced(), uncoalesced().coalesce()),
        {"exact_is_coalesced": True},
    ),
    "sparse tensors that differ": (lambda: (uncoalesced(), ones(1).to_sparse()), {}),
    "CSR tensors that differ": (lambda: (csr(), csr() * 2), {}),
    "CSR and CSC": (lambda: (csr(), csr().to_sparse_csc()), {}),
    "quantized by two scales": (lambda: (scaled(0.5), scaled(0.25)), {}),
    "quantized that differ": (lambda: (quantized(), torch.quantize_per_tensor(ones(1) * 2, 0.5, 0, torch.qint8)), {}),
    "nested tensors of two lengths": (
        lambda: (nested(torch.strided), torch.nested.nested_tensor([ones(1), ones(2)])),
        {},
    ),
    # numpy.
    "numpy dtypes": (lambda: (np.ones(1), np.ones(1, dtype=np.float32)), {}),
    "numpy dtypes, exact_dtype=False": (lambda: (np.ones(1), np.ones(1, dtype=np.float32)), {"exact_dtype": False}),
    "arrays nearby": (lambda: (np.ones(1, dtype=np.float32), np.ones(1, dtype=np.float32) + 1e-6), {}),
    "an array and a tensor, backwards": (lambda: (np.arange(3)[::-1], torch.tensor([2, 1, 0])), {}),
    "an array and a list of arrays": (lambda: (np.ones((1, 1)), [np.ones(1)]), {}),
    "numpy's float64 and a number nearby": (lambda: (np.float64(1.0), 1.0 + 1e-6), {}),
    # Containers.
    "lists of numbers nearby": (lambda: ([1.0, [2.0]], [1.0 + 1e-6, (2.0,)]), {}),
    "lists, within atol": (lambda: ([1, {"a": 2}], [2, {"a": 3}]), {"atol": 1, "rtol": 0}),
    "lists of other length": (lambda: ([1], [1, 2]), {}),
    "dicts in another order": (lambda: ({"a": 1, "b": 2}, {"b": 2, "a": 1}), {}),
    "OrderedDicts in another order": (
        lambda: (collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1)),
        {},
    ),
    "dicts of numbers nearby": (lambda: ({"a": 1.0}, {"a": 1.0 + 1e-6}), {}),
    "dicts, a key more": (lambda: ({"a": 1}, {"a": 1, "b": 2}), {}),
    "sets of numbers nearby": (lambda: ({1.0}, {1.0 + 1e-6}), {}),
    "namedtuples of numbers nearby": (lambda: (Point(1.0), Point(1.0 + 1e-6)), {}),
    "dataclasses of numbers nearby": (lambda: (Record(1.0), Record(1.0 + 1e-6)), {}),  # type: ignore[arg-type]
    "ranges": (lambda: (range(3), [0, 1, 2]), {}),
    "deques of tensors": (lambda: (collections.deque([ones(2)]), [ones(2)]), {}),
    "a list that holds a string of another": (lambda: (["a"], ["b"]), {}),
    "a string and its characters": (lambda: ("ab", ["a", "b"]), {}),
    "dates": (lambda: (datetime.date(2020, 1, 1), datetime.date(2020, 1, 1)), {}),
}
