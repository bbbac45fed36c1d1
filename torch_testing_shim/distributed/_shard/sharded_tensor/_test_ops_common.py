"""Upstream's `_test_ops_common`: sharding specs over four ranks, and what a rank's part of a weight is."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn
from torch.distributed._shard.metadata import ShardMetadata
from torch.distributed._shard.sharding_spec import ChunkShardingSpec, _internals as splitting
from torch.distributed._shard.sharding_spec.api import EnumerableShardingSpec

from torch_testing_shim._cases.placements import rank_placements
from torch_testing_shim._upstream.graft import served

__all__ = [
    "clone_module_parameter",
    "gen_binary_op_func",
    "generate_chunk_sharding_specs_for_test",
    "generate_enumerable_sharding_specs_for_test",
    "generate_local_weight_sharding_params_for_test",
]

__getattr__ = served(__name__)

ORDERS = ((0, 1, 2, 3), (2, 3, 0, 1), (3, 0, 1, 2))
CORNERS = ((0, 0), (5, 0), (0, 5), (5, 5))


def generate_chunk_sharding_specs_for_test(sharding_dim: int) -> list[ChunkShardingSpec]:
    """Specs that chunk this dimension over four ranks, in three orders (upstream's name, torch 2.13)."""
    places = rank_placements()
    return [ChunkShardingSpec(dim=sharding_dim, placements=[places[rank] for rank in order]) for order in ORDERS]


def generate_enumerable_sharding_specs_for_test() -> list[EnumerableShardingSpec]:
    """A spec that cuts 10 by 10 into quarters, one per rank (upstream's name, torch 2.13)."""
    quarters = [
        ShardMetadata(shard_offsets=list(corner), shard_sizes=[5, 5], placement=place)
        for corner, place in zip(CORNERS, rank_placements(), strict=True)
    ]
    return [EnumerableShardingSpec(quarters)]


def generate_local_weight_sharding_params_for_test(
    local_weight: torch.Tensor, sharded_dim: int, gpu_num: int, spec: ChunkShardingSpec, rank: int
) -> tuple[int, int]:
    """Where a rank's part of a weight begins along a dimension, and how long it is (upstream's name, torch 2.13).

    Args:
        local_weight: the whole weight.
        sharded_dim: the dimension.
        gpu_num: number of ranks.
        spec: in which order the chunks lie on the ranks.
        rank: the rank.

    Raises:
        ValueError: the spec has no chunk on this rank.
    """
    split: Any = splitting  # untyped in torch
    whole = local_weight.size(sharded_dim)
    begin = 0
    for index, placement in enumerate(spec.placements):
        length: int = split.get_chunked_dim_size(whole, split.get_split_size(whole, gpu_num), index)
        if not isinstance(placement, str) and placement.rank() == rank:
            return begin, length
        begin += length
    raise ValueError(f"rank {rank} is not among {spec.placements}")


def clone_module_parameter(module: nn.Module, param_name: str) -> nn.Parameter:
    """A parameter with a copy of the values of a module's (upstream's name, torch 2.13)."""
    return nn.Parameter(module.get_parameter(param_name).detach().clone())


def gen_binary_op_func(python_op: str, inplace: bool = False) -> Callable[[Any, Any], Any]:
    """A function of two operands (upstream's name, torch 2.13).

    Args:
        python_op: an operator, such as "+", or the name of a function of torch, such as "torch.add".
        inplace: the left operand is changed, as by "+=".

    Raises:
        KeyError: the operator is not known.
    """
    if python_op.startswith("torch."):
        function: Callable[[Any, Any], Any] = operator.attrgetter(python_op.removeprefix("torch."))(torch)
        return function
    name = _OPERATORS[python_op]
    changed: Callable[[Any, Any], Any] = getattr(operator, f"i{name}" if inplace else name)
    return changed


_OPERATORS = {"+": "add", "-": "sub", "*": "mul", "/": "truediv", "//": "floordiv", "%": "mod", "@": "matmul"}
