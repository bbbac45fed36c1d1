"""Upstream's `_test_ops_common`: sharding specs over four ranks, and a rank's part of a weight."""

from __future__ import annotations

from torch_testing_shim._cases.sharded_tensors import (
    clone_module_parameter as clone_module_parameter,
    gen_binary_op_func as gen_binary_op_func,
    generate_chunk_sharding_specs_for_test as generate_chunk_sharding_specs_for_test,
    generate_enumerable_sharding_specs_for_test as generate_enumerable_sharding_specs_for_test,
    generate_local_weight_sharding_params_for_test as generate_local_weight_sharding_params_for_test,
)
from torch_testing_shim._upstream.graft import served

__getattr__ = served(__name__)
