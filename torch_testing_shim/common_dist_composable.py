"""Upstream's `common_dist_composable`: models whose parts are wrapped, sharded and replicated one by one."""

from __future__ import annotations

import torch
import torch.nn as nn

from torch_testing_shim._upstream.graft import served

__all__ = [
    "CompositeModel",
    "CompositeParamModel",
    "FakeSequential",
    "NestedSequentialModel",
    "UnitModule",
    "UnitParamModule",
]

__getattr__ = served(__name__)

WIDTH = 100


def _linear(device: torch.device) -> nn.Linear:
    return nn.Linear(WIDTH, WIDTH, device=device)


def _between_relus(device: torch.device) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), _linear(device), nn.ReLU())


class UnitModule(nn.Module):
    """Three linear layers with a ReLU between each two; the one in the middle stands in a sequence (upstream's
    `UnitModule`, torch 2.13). All layers here have 100 features in and out."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.l1, self.seq, self.l2 = _linear(device), _between_relus(device), _linear(device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.seq(self.l1(x))
        out: torch.Tensor = self.l2(hidden)
        return out


class CompositeModel(nn.Module):
    """Two `UnitModule`s between two linear layers (upstream's `CompositeModel`, torch 2.13)."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.l1, self.u1, self.u2, self.l2 = _linear(device), UnitModule(device), UnitModule(device), _linear(device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.u2(self.u1(self.l1(x)))
        out: torch.Tensor = self.l2(hidden)
        return out


class UnitParamModule(nn.Module):
    """Two linear layers and a parameter of the module itself, by which the result is multiplied (upstream's
    `UnitParamModule`, torch 2.13)."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.l, self.seq = _linear(device), _between_relus(device)
        self.p = nn.Parameter(torch.randn(WIDTH, WIDTH, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.seq(self.l(x))
        return hidden @ self.p


class CompositeParamModel(nn.Module):
    """A linear layer, two `UnitModule`s, a parameter of the module itself, by which the result is multiplied, and a
    buffer (upstream's `CompositeParamModel`, torch 2.13)."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.l, self.u1, self.u2 = _linear(device), UnitModule(device), UnitModule(device)
        self.p = nn.Parameter(torch.randn(WIDTH, WIDTH, device=device))
        self.register_buffer("buffer", torch.randn(WIDTH, WIDTH, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.u2(self.u1(self.l(x)))
        return hidden @ self.p


class FakeSequential(nn.Module):
    """Runs modules one after the other and is no `nn.Sequential`, for wrap policies that name that class. The modules
    stand in a plain list, so they are no submodules (upstream's `FakeSequential`, torch 2.13)."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self._module_sequence = [*modules]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = x
        for each in self._module_sequence:
            out = each(out)
        return out


class NestedSequentialModel(nn.Module):
    """Sequences of unlike depth, so that traversals in unlike order differ (upstream's `NestedSequentialModel`,
    torch 2.13; upstream's cannot be called). (n, 1) becomes (n, 4)."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()

        def linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
            return nn.Linear(inputs, outputs, bias, device)

        first, deeper, deepest, last = linear(1, 1), linear(1, 1), linear(1, 1), linear(1, 2)
        nested = FakeSequential(deeper, nn.ReLU(), FakeSequential(deepest), nn.ReLU())
        self.seq1 = nn.Sequential(first, nested, last)
        self.lin = linear(2, 2)
        widened = linear(2, 3)
        self.seq2 = nn.Sequential(nn.ReLU(), widened, FakeSequential(linear(3, 2, False), linear(2, 4, False)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.seq2(self.lin(self.seq1(x)))
        return out
