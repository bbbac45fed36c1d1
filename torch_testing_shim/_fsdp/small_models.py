"""Perceptrons and other models of a few layers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp.wrap import wrap

from torch_testing_shim._fsdp.fsdp_device import device_arguments, device_type

__all__ = ["MLP", "DoubleLinear", "DummyDDP", "MLPStack", "NestedLinear", "SkipModel", "SkipModule"]

#: Features of the models whose units are skipped.
SKIP_WIDTH = 10

Device = torch.device | None


class MLP(nn.Module):
    """Two linear layers, each with a ReLU after it (upstream's `MLP`, torch 2.13).

    Args:
        dim: features of input and output.
        device: where the parameters are made.
        bias: the layers have biases.
        with_buffer: a buffer of `dim` random values is added to the output.
        dim_multiplier: the hidden layer has this many times `dim` features.
    """

    def __init__(
        self, dim: int, device: Device = None, *, bias: bool = True, with_buffer: bool = False, dim_multiplier: int = 4
    ) -> None:
        super().__init__()
        hidden = dim * dim_multiplier
        self.in_proj = nn.Linear(dim, hidden, bias, device)
        self.out_proj = nn.Linear(hidden, dim, bias, device)
        self.buffer: torch.Tensor | None
        self.register_buffer("buffer", torch.randn(dim, device=device) if with_buffer else None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out_proj(self.in_proj(x).relu()).relu()
        return out if self.buffer is None else out + self.buffer

    def reset_parameters(self) -> None:
        """Draws the buffer anew, for a model that was made on the meta device."""
        if self.buffer is not None:
            nn.init.normal_(self.buffer)


class MLPStack(nn.Sequential):
    """Three MLPs, with hidden layers of 3, 4 and 3 times `mlp_dim` features, so that they shard unevenly (upstream's
    `MLPStack`, torch 2.13).

    Args:
        mlp_dim: features of input and output.
        with_seq_parallel: a layer norm follows, whose input is sharded along the sequence.
    """

    def __init__(self, mlp_dim: int, *, with_seq_parallel: bool = False) -> None:
        layers: list[nn.Module] = [MLP(mlp_dim, dim_multiplier=multiplier) for multiplier in (3, 4, 3)]
        norm = [nn.LayerNorm(mlp_dim, bias=False)] if with_seq_parallel else []
        super().__init__(*layers, *norm)
        self.with_seq_parallel = with_seq_parallel

    def parallelize(
        self, tp_mesh: DeviceMesh, dp_mesh: DeviceMesh, use_activation_checkpointing: bool, **fsdp_kwargs: Any
    ) -> MLPStack:
        """Splits each MLP's layers over `tp_mesh`, then shards each MLP and the whole over `dp_mesh`.

        Args:
            tp_mesh: the mesh of tensor parallelism, one-dimensional.
            dp_mesh: the mesh of `fully_shard`.
            use_activation_checkpointing: activations of the MLPs are computed again in the backward pass.
            fsdp_kwargs: arguments for `fully_shard`.
        """
        from torch.distributed._composable.checkpoint_activation import checkpoint
        from torch.distributed.fsdp import fully_shard
        from torch.distributed.tensor.parallel import parallelize_module

        parallelize_module(self, tp_mesh, self._tensor_parallel_plan())
        for mlp in (layer for layer in self if isinstance(layer, MLP)):
            if use_activation_checkpointing:
                checkpoint(mlp)
            fully_shard(mlp, mesh=dp_mesh, **fsdp_kwargs)
        fully_shard(self, mesh=dp_mesh, **fsdp_kwargs)
        return self

    def _tensor_parallel_plan(self) -> dict[str, Any]:
        from torch.distributed.tensor import Shard
        from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel

        # DTensors between the layers: plain tensors would not know that a dimension is sharded unevenly.
        plan: dict[str, Any] = {}
        for index in range(3):
            plan[f"{index}.in_proj"] = ColwiseParallel(use_local_output=False)
            plan[f"{index}.out_proj"] = RowwiseParallel(use_local_output=False)
        if self.with_seq_parallel:
            return {**plan, "2.out_proj": RowwiseParallel(output_layouts=Shard(1)), "3": SequenceParallel()}
        return {**plan, "2.out_proj": RowwiseParallel()}


class DoubleLinear(nn.Module):
    """Two linear layers beside each other; returns both outputs, or leaves the second layer unused (upstream's
    `DoubleLinear`, torch 2.13).

    Args:
        dim: features of input and outputs.
        use_second_linear: the second layer is used.
    """

    def __init__(self, dim: int, use_second_linear: bool = True) -> None:
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.relu = nn.ReLU()
        self.use_second_linear = use_second_linear

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | torch.Tensor:
        first: torch.Tensor = self.relu(self.lin1(x))
        return (first, self.relu(self.lin2(x))) if self.use_second_linear else first


class DummyDDP(nn.Module):
    """A module that only has another in its `module`, as DDP does, for what looks there (upstream's `DummyDDP`)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)


def _square() -> nn.Linear:
    return nn.Linear(SKIP_WIDTH, SKIP_WIDTH, bias=False)


class SkipModule(nn.Module):
    """One linear layer in a module that a wrap policy is to skip (upstream's `SkipModule`, torch 2.13)."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = _square()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.lin(x)
        return out


class NestedLinear(nn.Module):
    """One linear layer on the device in use, which `wrap` has wrapped if `fsdp_wrap` (upstream's name, torch 2.13)."""

    def __init__(self, fsdp_wrap: bool) -> None:
        super().__init__()
        layer = _square().to(device_type())
        self.nested_linear = wrap(layer, **device_arguments({})) if fsdp_wrap else layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.nested_linear(x)
        return out


class SkipModel(nn.Module):
    """Three linear layers: one bare, one in a `SkipModule`, one in a `NestedLinear` that `wrap` wraps (upstream's
    `SkipModel`, torch 2.13). Built inside `enable_wrap`.

    Args:
        double_nest: the last linear layer is a unit inside the unit.
    """

    def __init__(self, double_nest: bool) -> None:
        super().__init__()
        device = device_type()
        self.linear, self.linear_skip = _square().to(device), SkipModule().to(device)
        self.nested_linear = wrap(NestedLinear(double_nest), device_id=torch.device(device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.nested_linear(self.linear_skip(self.linear(x)))
        return out
