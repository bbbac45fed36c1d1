"""Parallel styles for the experts of a transformer: over tensors, over experts, and over both."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed._functional_collectives as collectives
import torch.nn as nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ParallelStyle

__all__ = ["ExpertParallel", "ExpertParallelWithTP", "TensorParallelForExpert"]

#: Weights are (experts, outputs, inputs). The first layer is split over outputs, the second over inputs, so that the
#: second's result is a sum over ranks.
_SPLIT = {"w1": Shard(1), "w2": Shard(2)}
_EACH_ITS_EXPERTS = Shard(0)


def _distribute(experts: nn.Module, mesh: DeviceMesh, placements: dict[str, list[Placement]]) -> None:
    for name, weight in list(experts.named_parameters(recurse=False)):
        if name in placements:
            experts.register_parameter(name, nn.Parameter(distribute_tensor(weight, mesh, placements[name])))


def _moved(tensor: torch.Tensor, mesh: DeviceMesh, source: Placement, target: Placement) -> torch.Tensor:
    return DTensor.from_local(tensor, mesh, [source]).redistribute(mesh, [target]).to_local()


class TensorParallelForExpert(ParallelStyle):
    """Splits each expert's layers over the mesh.

    Args:
        input_layouts: how the tokens that come in are sharded; None for not at all.
        output_layouts: how those that leave are to be; replicated by default.
    """

    def __init__(self, *, input_layouts: Placement | None = None, output_layouts: Placement | None = None) -> None:
        super().__init__()
        self.input_layouts, self.output_layouts = input_layouts, output_layouts or Replicate()

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        _distribute(module, device_mesh, {name: [split] for name, split in _SPLIT.items()})
        if self.input_layouts is not None:
            source = self.input_layouts
            module.register_forward_pre_hook(lambda _, inputs: (_moved(inputs[0], device_mesh, source, Replicate()),))
        module.register_forward_hook(lambda _, __, out: _moved(out, device_mesh, Partial(), self.output_layouts))
        return module


class ExpertParallel(ParallelStyle):
    """Shares the experts out over the mesh: every rank gets the tokens of all, and the sum of its own back."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        names = [name for name, _ in module.named_parameters(recurse=False)]
        _distribute(module, device_mesh, {name: [_EACH_ITS_EXPERTS] for name in names})
        _exchange_tokens(module, device_mesh)
        return module


class ExpertParallelWithTP(ParallelStyle):
    """Shares the experts out over one mesh and splits each over another. Applied to the layer that has `experts`.

    Args:
        ep_mesh: over which the experts are shared out.
        tp_mesh: over which each is split.
    """

    def __init__(self, ep_mesh: DeviceMesh, tp_mesh: DeviceMesh) -> None:
        super().__init__()
        self.ep_mesh, self.tp_mesh = ep_mesh, tp_mesh
        self.ep_tp_mesh = DeviceMesh._concatenate([ep_mesh, tp_mesh])

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        experts, mesh = module.get_submodule("experts"), self.tp_mesh
        _distribute(experts, self.ep_tp_mesh, {name: [_EACH_ITS_EXPERTS, split] for name, split in _SPLIT.items()})
        _exchange_tokens(module, self.ep_mesh)

        def with_gradient_summed(_: nn.Module, inputs: Any) -> tuple[torch.Tensor]:
            tokens = DTensor.from_local(inputs[0], mesh, [Replicate()])
            return (tokens.to_local(grad_placements=[Partial()]),)

        experts.register_forward_pre_hook(with_gradient_summed)
        experts.register_forward_hook(lambda _, __, out: _moved(out, mesh, Partial(), Replicate()))
        return module


def _exchange_tokens(module: nn.Module, mesh: DeviceMesh) -> None:
    """Has the module work on the tokens of all ranks, and each rank get the sum of what all made of its own."""
    group: Any = mesh.get_group()
    gather: Any = getattr(collectives, "all_gather_single_autograd", None) or collectives.all_gather_tensor_autograd
    scatter: Any = (
        getattr(collectives, "reduce_scatter_single_autograd", None) or collectives.reduce_scatter_tensor_autograd
    )
    wait: Any = collectives.wait_tensor
    module.register_forward_pre_hook(lambda _, inputs: (wait(gather(inputs[0], gather_dim=0, group=group)),))
    module.register_forward_hook(lambda _, __, out: wait(scatter(out, "sum", scatter_dim=0, group=group)))
