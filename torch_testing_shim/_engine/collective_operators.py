"""The operators of `c10d` that all ranks of a group enter together, and what is written of a call of one."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from torch_testing_shim._engine.torch_versions import reduction_of

__all__ = ["OPERATORS", "Operator", "fields_of"]

#: How many tensors of a collective are written down with their shapes, and how much of them.
_TENSORS_SHOWN, _SHAPES_CHARACTERS, _TYPES_CHARACTERS = 4, 100, 40


@dataclass(frozen=True)
class Operator:
    """One operator of `c10d`.

    Attributes:
        name: what `torch.distributed` calls the collective.
        shown: which argument holds the tensors that people know it by; None for none.
        agreed: which argument holds as many elements on every rank; None for none.
        group: which argument is the process group.
        reduction: which argument is the reduction; None for none.
        root: which argument is the root's rank in the group; None for none.
    """

    name: str
    shown: int | None = 0
    agreed: int | None = 0
    group: int = 1
    reduction: int | None = None
    root: int | None = None


#: The operators of `c10d` that all ranks of a group enter together.
OPERATORS = {
    "allreduce_": Operator("all_reduce", reduction=2),
    "allreduce_coalesced_": Operator("all_reduce_coalesced", reduction=2),
    "reduce_": Operator("reduce", reduction=2, root=3),
    "broadcast_": Operator("broadcast", root=2),
    "allgather_": Operator("all_gather", shown=1, group=2),
    "_allgather_base_": Operator("all_gather_into_tensor", shown=1, group=2),
    "allgather_coalesced_": Operator("all_gather_coalesced", shown=1, group=2),
    "allgather_into_tensor_coalesced_": Operator("all_gather_into_tensor_coalesced", shown=1, group=2),
    "gather_": Operator("gather", shown=1, group=2, agreed=1, root=3),
    "gather_into_tensor_": Operator("gather_into_tensor", shown=1, group=2, agreed=1, root=3),  # torch 2.14
    "scatter_": Operator("scatter", group=2, root=3),
    "reduce_scatter_": Operator("reduce_scatter", agreed=1, group=2, reduction=3),
    "_reduce_scatter_base_": Operator("reduce_scatter_tensor", shown=1, group=2, agreed=1, reduction=3),
    "reduce_scatter_tensor_coalesced_": Operator(
        "reduce_scatter_tensor_coalesced", shown=1, group=2, agreed=1, reduction=3
    ),
    "alltoall_": Operator("all_to_all", shown=1, group=2, agreed=None),
    "alltoall_base_": Operator("all_to_all_single", shown=1, group=2, agreed=None),
    "barrier": Operator("barrier", shown=None, agreed=None),
    "monitored_barrier_": Operator("monitored_barrier", shown=None, agreed=None),
}


def fields_of(operator: Operator, arguments: Sequence[Any], members: Sequence[int]) -> str:
    """What is written of a collective: a checksum of what all ranks have alike, name, details, types, shapes."""
    shown = [] if operator.shown is None else _tensors(arguments[operator.shown])
    agreed = [] if operator.agreed is None else _tensors(arguments[operator.agreed])
    checksum = zlib.crc32(str([tensor.numel() for tensor in agreed]).encode())
    details = []
    if operator.reduction is not None:
        details += reduction_of(arguments[operator.reduction])
    if operator.root is not None:
        details.append(f"root {members[arguments[operator.root]]}")
    types = " ".join(sorted({str(tensor.dtype)[len("torch.") :] for tensor in shown}))[:_TYPES_CHARACTERS]
    shapes = ", ".join([str(list(tensor.shape)) for tensor in shown[:_TENSORS_SHOWN]])[:_SHAPES_CHARACTERS]
    if len(shown) > _TENSORS_SHOWN:
        shapes += f" and {len(shown) - _TENSORS_SHOWN} more"
    return f"{checksum}\t{operator.name}\t{', '.join(details)}\t{types}\t{shapes}"


def _tensors(argument: Any) -> Sequence[torch.Tensor]:
    """The tensors of an argument: one, a list, or a list of lists."""
    if isinstance(argument, torch.Tensor):
        return [argument]
    is_flat = not argument or isinstance(argument[0], torch.Tensor)
    return argument if is_flat else [tensor for tensors in argument for tensor in tensors]
