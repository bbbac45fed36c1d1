"""How `Transformer` is split over meshes: a plan of parallel styles for its root, its blocks and its output."""

from __future__ import annotations

import torch.nn as nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

from torch_testing_shim._expert_parallel import ExpertParallel, ExpertParallelWithTP, TensorParallelForExpert
from torch_testing_shim._transformer import Transformer, TransformerBlock

__all__ = ["split_over_meshes"]

Plan = dict[str, ParallelStyle]

#: What lies between layers is (batch, sequence, features); positions come without the batch.
SEQUENCE, POSITIONS = Shard(1), Shard(0)


def split_over_meshes(
    model: Transformer,
    tp_mesh: DeviceMesh | None,
    use_seq_parallel: bool,
    local_output_for_attn: bool,
    ep_mesh: DeviceMesh | None,
) -> None:
    """Splits the model in place; the arguments are those of `Transformer.parallelize`.

    Raises:
        ValueError: there is no mesh at all.
    """
    if tp_mesh is None and ep_mesh is None:
        raise ValueError("Transformer.parallelize needs tp_mesh or ep_mesh")
    if tp_mesh is not None:
        parallelize_module(model, tp_mesh, _root_plan(use_seq_parallel))
    blocks = [block for block in model.layers if isinstance(block, TransformerBlock)]
    for block in blocks:
        if tp_mesh is not None:
            plan = _attention_plan(use_seq_parallel, local_output_for_attn)
            plan |= _second_half_plan(block.has_experts, use_seq_parallel, ep_mesh is None)
            parallelize_module(block, tp_mesh, plan)
        if ep_mesh is not None and block.has_experts:
            _share_out_experts(block.expert_layer, ep_mesh, tp_mesh)
    if tp_mesh is not None:
        _split_output(model, tp_mesh, use_seq_parallel)
        if local_output_for_attn:
            for block in blocks:
                block.attention.n_heads = model.model_args.n_heads // tp_mesh.size()


def _root_plan(by_sequence: bool) -> Plan:
    def embedding(layout: Shard) -> ParallelStyle:
        return RowwiseParallel(input_layouts=Replicate(), output_layouts=layout if by_sequence else Replicate())

    plan: Plan = {"tok_embeddings": embedding(SEQUENCE), "pos_embeddings": embedding(POSITIONS)}
    return {**plan, "norm": SequenceParallel()} if by_sequence else plan


def _attention_plan(by_sequence: bool, local_output: bool) -> Plan:
    plan: Plan = {f"attention.{name}": ColwiseParallel(use_local_output=local_output) for name in ("wq", "wk", "wv")}
    plan["attention.wo"] = _rowwise(by_sequence)
    if by_sequence:
        plan["attention"] = PrepareModuleInput(input_layouts=SEQUENCE, desired_input_layouts=Replicate())
        plan["attention_norm"] = plan["ffn_norm"] = SequenceParallel()
    return plan


def _second_half_plan(has_experts: bool, by_sequence: bool, over_tensors: bool) -> Plan:
    if not has_experts:
        first = ColwiseParallel(input_layouts=SEQUENCE) if by_sequence else ColwiseParallel()
        return {"feed_forward.w1": first, "feed_forward.w2": _rowwise(by_sequence)}
    if not over_tensors:
        return {}
    tokens = Shard(0) if by_sequence else None  # batch and sequence in one dimension
    return {"expert_layer.experts": TensorParallelForExpert(input_layouts=tokens, output_layouts=tokens)}


def _rowwise(by_sequence: bool) -> ParallelStyle:
    return RowwiseParallel(output_layouts=SEQUENCE) if by_sequence else RowwiseParallel()


def _share_out_experts(layer: nn.Module, ep_mesh: DeviceMesh, tp_mesh: DeviceMesh | None) -> None:
    if tp_mesh is None:
        parallelize_module(layer.get_submodule("experts"), ep_mesh, ExpertParallel())
    else:
        parallelize_module(layer, ep_mesh, ExpertParallelWithTP(ep_mesh, tp_mesh))


def _split_output(model: Transformer, tp_mesh: DeviceMesh, by_sequence: bool) -> None:
    source = SEQUENCE if by_sequence else None
    parallelize_module(model.output, tp_mesh, ColwiseParallel(input_layouts=source, output_layouts=Replicate()))
    if model.model_args.weight_tying:  # each got a DTensor of its own; both shard the vocabulary
        model.output.weight = model.tok_embeddings.weight
