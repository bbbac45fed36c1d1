"""Values of every kind that tests compare, most of them a "one": for the table of what equals what."""

from __future__ import annotations

import collections
import dataclasses
import decimal
import enum
import fractions
import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist


class Plain(enum.Enum):
    ONE = 1


class OtherPlain(enum.Enum):
    ONE = 1


class Flag(enum.Flag):
    ONE = 1


class Int(enum.IntEnum):
    ONE = 1


class IntFlag(enum.IntFlag):
    ONE = 1


class Text(str, enum.Enum):
    ONE = "1"


class Point(collections.namedtuple("Point", "x")):
    pass


@dataclasses.dataclass
class Record:
    x: int


@dataclasses.dataclass
class TensorRecord:
    x: torch.Tensor


class Thing:
    pass


@functools.cache
def tensor_key() -> torch.Tensor:
    return torch.tensor(1)


@functools.cache
def parameter_key() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.tensor([1.0, 2.0]))


@functools.cache
def thing() -> Thing:
    return Thing()


def quantized() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.tensor([1.0]), 0.5, 0, torch.qint8)


def csr() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.tensor([[1]]).to_sparse_csr()


def nested(layout: torch.layout) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.tensor([1])], layout=layout)


def typed_storage() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.tensor([1]).storage()


def dtensor() -> torch.Tensor:
    """It needs a process group of one rank."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    return distribute_tensor(torch.tensor([1]), init_device_mesh("cpu", (1,)), [Shard(0)])


def sharded_tensor() -> Any:
    """It needs a process group of one rank."""
    from torch.distributed._shard import sharded_tensor
    from torch.distributed._shard.sharding_spec import ChunkShardingSpec

    assert dist.get_world_size() == 1
    return sharded_tensor.ones(ChunkShardingSpec(0, ["rank:0/cpu"]), 1, dtype=torch.int64)


#: By name, what makes a value anew; keys of dictionaries and the plain object are the same each time.
KINDS: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "bool": lambda: True,
    "int": lambda: 1,
    "float": lambda: 1.0,
    "complex": lambda: 1 + 0j,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "Decimal": lambda: decimal.Decimal(1),
    "Fraction": lambda: fractions.Fraction(1),
    "Enum": lambda: Plain.ONE,
    "other Enum": lambda: OtherPlain.ONE,
    "Flag": lambda: Flag.ONE,
    "IntEnum": lambda: Int.ONE,
    "IntFlag": lambda: IntFlag.ONE,
    "str Enum": lambda: Text.ONE,
    "str": lambda: "1",
    "bytes": lambda: b"1",
    "bytearray": lambda: bytearray(b"1"),
    "list": lambda: [1],
    "tuple": lambda: (1,),
    "namedtuple": lambda: Point(1),
    "range": lambda: range(1, 2),
    "deque": lambda: collections.deque([1]),
    "Size": lambda: torch.Size([1]),
    "list of str": lambda: ["1"],
    "nested list": lambda: [[1]],
    "empty list": lambda: [],
    "list of tensors": lambda: [torch.tensor([1.0])],
    "list of arrays": lambda: [np.array([1.0], dtype=np.float32)],
    "set": lambda: {1},
    "frozenset": lambda: frozenset({1}),
    "dict": lambda: {1: 1},
    "OrderedDict": lambda: collections.OrderedDict({1: 1}),
    "defaultdict": lambda: collections.defaultdict(int, {1: 1}),
    "dict by bool": lambda: {True: 1},
    "dict by str": lambda: {"1": 1},
    "dict by tuple": lambda: {(1,): 1},
    "dict by None and int": lambda: {None: 1, 1: 1},
    "dict by tensor": lambda: {tensor_key(): 1},
    "dict by another tensor": lambda: {torch.tensor(1): 1},
    "dict by Parameter": lambda: {parameter_key(): 1},
    "dict of tensors": lambda: {1: torch.tensor(1)},
    "dataclass": lambda: Record(1),
    "dataclass of tensor": lambda: TensorRecord(torch.tensor([1, 2])),
    "object": thing,
    "type": lambda: int,
    "function": lambda: typed_storage,
    "slice": lambda: slice(1),
    "dtype": lambda: torch.int64,
    "device": lambda: torch.device("cpu"),
    "device with index": lambda: torch.device("cpu", 0),
    "layout": lambda: torch.strided,
    "memory format": lambda: torch.contiguous_format,
    "Generator": torch.Generator,
    "numpy int": lambda: np.int64(1),
    "numpy float": lambda: np.float32(1),
    "numpy bool": lambda: np.bool_(True),
    "numpy str": lambda: np.str_("1"),
    "numpy array": lambda: np.array([1]),
    "numpy 0-d array": lambda: np.array(1),
    "numpy float array": lambda: np.array([1.0], dtype=np.float32),
    "numpy array of str": lambda: np.array(["1"]),
    "numpy array of objects": lambda: np.array([Thing], dtype=object),
    "numpy dtype": lambda: np.dtype("int64"),
    "0-d tensor": lambda: torch.tensor(1),
    "tensor": lambda: torch.tensor([1]),
    "float tensor": lambda: torch.tensor([1.0]),
    "double tensor": lambda: torch.tensor([1.0], dtype=torch.float64),
    "bool tensor": lambda: torch.tensor([True]),
    "complex tensor": lambda: torch.tensor([1 + 0j]),
    "nan tensor": lambda: torch.tensor([float("nan")]),
    "2-d tensor": lambda: torch.tensor([[1]]),
    "empty tensor": lambda: torch.tensor([], dtype=torch.int64),
    "tensor of two": lambda: torch.tensor([1, 2]),
    "Parameter": lambda: torch.nn.Parameter(torch.tensor([1.0])),
    "meta tensor": lambda: torch.tensor([1], device="meta"),
    "sparse COO": lambda: torch.tensor([1]).to_sparse(),
    "sparse CSR": csr,
    "quantized": quantized,
    "nested": lambda: nested(torch.strided),
    "jagged": lambda: nested(torch.jagged),
    "typed storage": typed_storage,
    "untyped storage": lambda: torch.tensor([1]).untyped_storage(),
    "DTensor": dtensor,
    "ShardedTensor": sharded_tensor,
    "ModuleList": lambda: torch.nn.ModuleList(),
    "ParameterList": lambda: torch.nn.ParameterList([torch.tensor([1.0])]),
    "ParameterDict": lambda: torch.nn.ParameterDict({"1": torch.tensor([1.0])}),
}
