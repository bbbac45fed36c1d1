"""Upstream's `_test_ops_common`: sharding specs over four ranks. What tests do with a weight is torch's."""

from __future__ import annotations

from torch_testing_shim._cases.sharded_tensors import (
    generate_chunk_sharding_specs_for_test as generate_chunk_sharding_specs_for_test,
    generate_enumerable_sharding_specs_for_test as generate_enumerable_sharding_specs_for_test,
)
from torch_testing_shim._upstream.graft import served

__getattr__ = served(__name__)
