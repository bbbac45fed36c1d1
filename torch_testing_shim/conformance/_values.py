"""Every kind of value goes through a checkpoint: tensors of each type, plain, sharded and replicated; odd shapes; and
what is not a tensor."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate, Shard

from torch_testing_shim.conformance._checks import Check, Trial
from torch_testing_shim.conformance._comparison import flat_state
from torch_testing_shim.conformance._outcomes import NotHereError
from torch_testing_shim.conformance._stage import Stage
from torch_testing_shim.conformance._states import blank, filled, placed, transfer
from torch_testing_shim.conformance._storage import Storage

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Saved on 2 ranks and loaded on 3: the shards are cut anew, and unevenly.
_RANKS = (2, 3)
_SEED = 30
_DTYPES = (
    "float64",
    "float32",
    "bfloat16",
    "float16",
    "float8_e4m3fn",
    "float8_e5m2",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
    "complex64",
    "complex128",
)
_OTHER_VALUES = {
    "text": "checkpoint",
    "number": 7,
    "ratio": 0.1,
    "flag": True,
    "nothing": None,
    "bytes": b"\x00\xff",
    "pair": (1, "two"),
    "list": [1, 2, 3],
    "nested": {"deep": {"name": "layer", "sizes": [8, 5]}},
    "empty": {},
}
#: Values that a load has to replace.
_OTHER_TARGETS = {
    "text": "",
    "number": 0,
    "ratio": 0.0,
    "flag": False,
    "nothing": 1,
    "bytes": b"",
    "pair": (0, ""),
    "list": [0, 0, 0],
    "nested": {"deep": {"name": "", "sizes": [0, 0]}},
    "empty": {},
}

Place = Callable[[torch.Tensor, DeviceMesh], torch.Tensor]

#: How a tensor is held -> its shape, and how ranks hold it.
_FORMS: Mapping[str, tuple[tuple[int, ...], Place]] = {
    "plain": ((5, 4), lambda whole, mesh: whole.to(mesh.device_type)),
    "sharded by rows": ((5, 4), lambda whole, mesh: placed(whole, mesh, Shard(0))),
    "sharded by columns": ((3, 5), lambda whole, mesh: placed(whole, mesh, Shard(1))),
    "replicated": ((5, 4), lambda whole, mesh: placed(whole, mesh, Replicate())),
}
_SCALARS: Mapping[str, tuple[tuple[int, ...], Place]] = {
    "plain": ((), _FORMS["plain"][1]),
    "replicated": ((), _FORMS["replicated"][1]),
}
_ZERO_SIZED: Mapping[str, tuple[tuple[int, ...], Place]] = {
    "plain": ((0,), _FORMS["plain"][1]),
    "plain, no columns": ((4, 0), _FORMS["plain"][1]),
    "sharded by rows": ((0, 3), _FORMS["sharded by rows"][1]),
    "replicated": ((2, 0), _FORMS["replicated"][1]),
}


def _trials(storage: Storage) -> Sequence[Trial]:
    of_types = [Trial(name, 3, functools.partial(_one_type, storage, name)) for name in _DTYPES]
    return [
        *of_types,
        Trial("scalar tensors", 3, lambda stage: _tensors(storage, _SCALARS, ("float32", "int64", "bool"), stage)),
        Trial("zero-sized tensors", 3, lambda stage: _tensors(storage, _ZERO_SIZED, ("float32", "int64"), stage)),
        Trial("values that are no tensors", 3, lambda stage: _others(storage, stage)),
    ]


VALUES = Check("values", _trials)


def _one_type(storage: Storage, name: str, stage: Stage) -> None:
    if not hasattr(torch, name):
        raise NotHereError(f"torch {torch.__version__} has no torch.{name}")
    _tensors(storage, _FORMS, (name,), stage)


def _tensors(
    storage: Storage,
    forms: Mapping[str, tuple[tuple[int, ...], Place]],
    dtypes: Sequence[str],
    stage: Stage,
) -> None:
    chosen = {f"{form}, {dtype}": (getattr(torch, dtype), *forms[form]) for form in forms for dtype in dtypes}
    whole = {name: filled(dtype, shape, _SEED) for name, (dtype, shape, _) in chosen.items()}
    transfer(
        stage,
        storage,
        _RANKS,
        lambda mesh: {name: place(whole[name], mesh) for name, (_, _, place) in chosen.items()},
        lambda mesh: {name: place(blank(whole[name]), mesh) for name, (_, _, place) in chosen.items()},
        whole,
    )


def _others(storage: Storage, stage: Stage) -> None:
    transfer(
        stage,
        storage,
        _RANKS,
        lambda mesh: _copy(_OTHER_VALUES),
        lambda mesh: _copy(_OTHER_TARGETS),
        flat_state(_OTHER_VALUES),
    )


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values in dicts and lists of their own, which a load may change."""
    return {
        name: _copy(value) if isinstance(value, Mapping) else list(value) if isinstance(value, list) else value
        for name, value in values.items()
    }
