"""Upstream's `_test_st_common`: sharding specs and modules with sharded tensors in them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.distributed._shard import sharded_tensor
from torch.distributed._shard.sharding_spec import ChunkShardingSpec

from torch_testing_shim._cases.placements import rank_placements
from torch_testing_shim._cases.world import DEFAULT_WORLD_SIZE
from torch_testing_shim._upstream.graft import served

# What is ours, besides the names that are answered when asked; a graft takes no other definition of them.
__all__ = ["DEFAULT_GPU_NUM", "MyShardedModel1", "MyShardedModel2", "_chunk_sharding_specs_list_for_test"]

DEFAULT_GPU_NUM = DEFAULT_WORLD_SIZE
SHAPE = (10, 20)

Spec = ChunkShardingSpec | None
Group = dist.ProcessGroup | None


__getattr__ = served(__name__, {"PLACEMENTS": rank_placements})


def _chunk_sharding_specs_list_for_test(sharding_dims: Sequence[int], seed: int = 0) -> list[ChunkShardingSpec]:
    """A spec for each of the dimensions, chunked over four ranks in an order of its own (upstream's name, torch 2.13).

    The orders follow from `seed` alone. (Upstream's also follow from the calls before.)
    """
    specs = []
    for offset, dim in enumerate(sharding_dims):
        order = rank_placements()
        random.Random(seed + offset).shuffle(order)
        specs.append(ChunkShardingSpec(dim=dim, placements=list(order)))
    return specs


def _random_sharded(spec: Spec, group: Group, init_rrefs: bool) -> Any:
    """A sharded tensor of random values; None without a spec."""
    if spec is None:
        return None
    return sharded_tensor.rand(spec, *SHAPE, process_group=group, init_rrefs=init_rrefs)


class MyShardedModel2(nn.Module):
    """A sharded tensor and a parameter (upstream's `MyShardedModel2`, torch 2.13).

    Args:
        spec: how the tensor, 10 by 20, is sharded; None for no sharded tensor.
        group: the process group.
        init_rrefs: RPC references to the shards of other ranks are made.
    """

    def __init__(self, spec: Spec = None, group: Group = None, init_rrefs: bool = True) -> None:
        super().__init__()
        self.sharded_tensor2 = _random_sharded(spec, group, init_rrefs)
        self.random_tensor2 = nn.Parameter(torch.rand(2, 2))


class MyShardedModel1(nn.Module):
    """A sharded tensor, a parameter and a `MyShardedModel2`, in `submodule` (upstream's `MyShardedModel1`, torch
    2.13). The arguments are the same."""

    def __init__(self, spec: Spec = None, group: Group = None, init_rrefs: bool = True) -> None:
        super().__init__()
        self.sharded_tensor1 = _random_sharded(spec, group, init_rrefs)
        self.random_tensor1 = nn.Parameter(torch.rand(2, 2))
        self.submodule = MyShardedModel2(spec, group, init_rrefs)
