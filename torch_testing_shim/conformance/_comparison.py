"""Compares a rank's part of a state with the slice of an unsharded reference, bit for bit.

Which slice is a DTensor's is worked out here from its placements, apart from the code that saves and loads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.distributed._shard.sharded_tensor.api import ShardedTensor
from torch.distributed.tensor import DTensor, Shard

from torch_testing_shim.conformance._outcomes import MismatchError

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def flat_state(state: object, name: str = "") -> dict[str, Any]:
    """Return the leaves of nested dicts and list under dotted names: {"model.weight": tensor}. An empty container is
    a leaf."""
    if isinstance(state, Mapping) and state:
        items: Sequence[tuple[object, object]] = list(state.items())
    elif isinstance(state, (list, tuple)) and state:
        items = list(enumerate(state))
    else:
        return {name: state}
    leaves: dict[str, Any] = {}
    for key, value in items:
        leaves.update(flat_state(value, f"{name}.{key}" if name else str(key)))
    return leaves


def check_state(actual: Mapping[str, Any], reference: Mapping[str, Any]) -> None:
    """Check this rank's part of each value. Call no collective.

    Args:
        actual: name -> tensor, DTensor, ShardedTensor or other value.
        reference: the same names -> whole tensor, or other value.

    Raises:
        MismatchError: a name is missing or not known, or a value differs in type, shape or a bit; the first by name.
    """
    if missing := sorted(reference.keys() - actual.keys()):
        raise MismatchError(f"{missing[0]} is missing")
    if unknown := sorted(actual.keys() - reference.keys()):
        raise MismatchError(f"{unknown[0]} was never saved")
    for name in sorted(reference):
        expected = reference[name]
        if isinstance(expected, torch.Tensor):
            _check_tensor(name, actual[name], expected)
        elif type(actual[name]) is not type(expected) or actual[name] != expected:
            raise MismatchError(f"{name} is {actual[name]!r}, not {expected!r}")


def _check_tensor(name: str, actual: object, expected: torch.Tensor) -> None:
    if not isinstance(actual, (torch.Tensor, ShardedTensor)):
        raise MismatchError(f"{name} is {actual!r}, not a tensor")
    if actual.size() != expected.size():
        raise MismatchError(f"{name} has the shape {tuple(actual.size())}, not {tuple(expected.size())}")
    for offsets, here, wanted in _parts(actual, expected):
        if here.dtype != wanted.dtype:
            raise MismatchError(f"{name} is {here.dtype}, not {wanted.dtype}")
        if here.size() != wanted.size():
            raise MismatchError(f"{name}: a shard has the shape {tuple(here.size())}, not {tuple(wanted.size())}")
        if not same_bits(here, wanted):
            raise MismatchError(f"{name}{_first_difference(here, wanted, offsets)}")


def _parts(
    actual: torch.Tensor | ShardedTensor, expected: torch.Tensor
) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Yield for each part that lies here: where it lies, the part, and the same part of the reference."""
    if isinstance(actual, ShardedTensor):
        for shard in actual.local_shards():
            wanted = expected
            for dimension, (offset, size) in enumerate(
                zip(shard.metadata.shard_offsets, shard.metadata.shard_sizes, strict=True)
            ):
                wanted = wanted.narrow(dimension, offset, size)
            yield f" in the shard at {list(shard.metadata.shard_offsets)}", shard.tensor, wanted
    elif isinstance(actual, DTensor):
        yield " in its shard", actual.to_local(), local_slice(actual, expected)
    else:
        yield "", actual, expected


def local_slice(like: DTensor, whole: torch.Tensor) -> torch.Tensor:
    """Return the part of `whole` that this rank holds of a DTensor placed as `like` is: each mesh dimension that shards
    cuts what the one before has left. One that shards in strides, as FSDP2 does on top of TP, cuts last."""
    coordinate = like.device_mesh.get_coordinate()
    assert coordinate is not None, "the rank is in its mesh"
    dimensions = [
        d for d, placement in enumerate(like.placements) if isinstance(placement, Shard) or _strides(placement)
    ]
    for mesh_dimension in sorted(dimensions, key=lambda d: _strides(like.placements[d])):
        placement: Any = like.placements[mesh_dimension]
        whole = cut(whole, placement.dim, like.device_mesh.size(mesh_dimension), coordinate[mesh_dimension])
    return whole


def cut(whole: torch.Tensor, dimension: int, pieces: int, index: int) -> torch.Tensor:
    """Return one of `pieces` parts along a dimension: all of one length but the last ones, which are shorter or
    empty."""
    length = -(-whole.size(dimension) // pieces)
    start = min(index * length, whole.size(dimension))
    return whole.narrow(dimension, start, min(length, whole.size(dimension) - start))


def _strides(placement: object) -> bool:
    return getattr(placement, "split_factor", 1) > 1


def same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Return whether two tensors of one type and shape hold the same bytes: NaN equals the same NaN, 0.0 is not
    -0.0."""
    return torch.equal(_bytes(left), _bytes(right))


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return (torch.view_as_real(flat).reshape(-1) if flat.is_complex() else flat).view(torch.uint8)


def _first_difference(here: torch.Tensor, wanted: torch.Tensor, where: str) -> str:
    """Return " in its shard: 3 of 8 elements differ, the first at 5: 0.5, not 0.25"."""
    rows = _bytes(here).reshape(here.numel(), -1) != _bytes(wanted).reshape(here.numel(), -1)
    differing = rows.any(dim=1).nonzero().reshape(-1)
    first = int(differing[0])
    left, right = here.detach().cpu().reshape(-1)[first].item(), wanted.detach().cpu().reshape(-1)[first].item()
    return f"{where}: {len(differing)} of {here.numel()} elements differ, the first at {first}: {left}, not {right}"
