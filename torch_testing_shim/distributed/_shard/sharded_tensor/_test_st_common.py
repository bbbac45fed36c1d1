"""Upstream's `_test_st_common`: placements and sharding specs. The modules with sharded tensors in them are torch's."""

from __future__ import annotations

from torch_testing_shim._cases.sharded_tensors import chunk_sharding_specs, rank_placements
from torch_testing_shim._cases.world import DEFAULT_WORLD_SIZE
from torch_testing_shim._upstream.graft import served

DEFAULT_GPU_NUM = DEFAULT_WORLD_SIZE
_chunk_sharding_specs_list_for_test = chunk_sharding_specs

__getattr__ = served(__name__, {"PLACEMENTS": rank_placements})
