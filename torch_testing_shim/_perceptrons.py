"""Small models for tests of DTensor and of parallelism: perceptrons, and a norm. They are plain modules."""

from __future__ import annotations

import functools

import torch
import torch.nn as nn

__all__ = ["MLPModule", "MLPStacked", "RMSNormPython"]

#: Every MLPModule has the same parameters, on each rank and each time.
MLP_SEED = 5
MLP_WIDTH, MLP_HIDDEN = 10, 16


class RMSNormPython(nn.Module):
    """Scales the last dimension to a mean square of 1, then by a weight (upstream's `RMSNormPython`, torch 2.13).

    Args:
        dim: features.
        eps: added to the mean square.
    """

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean_square = x.square().mean(dim=-1, keepdim=True)
        return x * (mean_square + self.eps).rsqrt() * self.weight


class MLPModule(nn.Module):
    """Two linear layers, 10 to 16 to 10 features, with a ReLU between them; seeded, so that all ranks have the same
    (upstream's `MLPModule`, torch 2.13).

    Args:
        device: where the parameters are made.
        bias: the layers have biases.
    """

    def __init__(self, device: torch.device | str | None, bias: bool = True) -> None:
        super().__init__()
        torch.manual_seed(MLP_SEED)
        self.net1 = nn.Linear(MLP_WIDTH, MLP_HIDDEN, bias, device)
        self.relu = nn.ReLU()
        self.net2 = nn.Linear(MLP_HIDDEN, MLP_WIDTH, bias, device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.relu(self.net1(x))
        out: torch.Tensor = self.net2(hidden)
        return out

    def reset_parameters(self) -> None:
        """Draws the parameters anew, for a model that was made on the meta device."""
        for layer in (self.net1, self.net2):
            layer.reset_parameters()


class MLPStacked(nn.Module):
    """`n_layers` MLPModules, one after the other (upstream's `MLPStacked`, torch 2.13)."""

    def __init__(self, device: torch.device | str | None, n_layers: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MLPModule(device) for _ in range(n_layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functools.reduce(lambda hidden, layer: layer(hidden), self.layers, x)
