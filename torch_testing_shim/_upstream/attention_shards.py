"""Shards attention of DTensors on the CPU, as torch shards it on accelerators: by batch or by head.

Torch gives no rule for the kernel that the CPU takes. Nothing is added where torch has one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor._op_schema import OpStrategy, RuntimeSchemaInfo
from torch.distributed.tensor._ops import utils


def shard_attention() -> None:
    """Give the CPU's kernel and its derivative their rules, for the rest of this process."""
    dispatcher: Any = DTensor._op_dispatcher
    kernels = ("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention_for_cpu_backward")
    operators = [getattr(torch.ops.aten, name).default for name in kernels]
    known = getattr(dispatcher.sharding_propagator, "op_strategy_funcs", {})
    if not any(operator in known for operator in operators):
        register: Any = utils.register_op_strategy(operators, schema_info=RuntimeSchemaInfo(3))
        register(_by_batch_or_head)


def _by_batch_or_head(*given: Any) -> Any:
    schema = given[-1]
    mesh = given[0] if len(given) > 1 else schema.get_mesh_from_args()  # torch 2.6 gives it first
    outputs = len(schema.op._schema.returns)
    tensors = outputs + sum(isinstance(argument, OpStrategy) for argument in schema.args_schema)
    placements: Any = [[placement] * tensors for placement in (Replicate(), Shard(0), Shard(1))]
    return utils.expand_to_full_mesh_op_strategy(mesh, schema, placements, input_index=outputs)
