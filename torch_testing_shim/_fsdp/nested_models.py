"""Models of linear layers of which some are FSDP units of their own, one inside the other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
from torch.distributed import ProcessGroup
from torch.distributed.fsdp.wrap import always_wrap_policy

from torch_testing_shim._fsdp.fsdp_device import fsdp_unit, to_device
from torch_testing_shim._fsdp.init_modes import (
    DEVICEInitMode,
    FsdpArguments,
    FSDPInitMode,
    initialized,
    takes_cuda_init_mode,
)
from torch_testing_shim._fsdp.transformer_model import FSDPTestModel

__all__ = ["AlwaysWrapNestedWrappedModule", "Building", "NestedWrappedModule", "NonUniformReqGradNWM"]


@dataclass(frozen=True)
class Building:
    """How the layers of a model are made: on which device, and whether `unit` wraps."""

    group: ProcessGroup
    wrap_fsdp: bool
    on_device: bool
    fsdp_kwargs: dict[str, Any]

    def linear(self, inputs: int, outputs: int) -> nn.Module:
        return to_device(nn.Linear(inputs, outputs), self.on_device)

    def unit(self, *layers: nn.Module) -> nn.Module:
        """The layers as one FSDP unit, or unwrapped."""
        inner = layers[0] if len(layers) == 1 else nn.Sequential(*layers)
        return fsdp_unit(inner, self.group, **self.fsdp_kwargs) if self.wrap_fsdp else inner


class NestedWrappedModule(FSDPTestModel):
    """Five linear layers, 8 to 8 features: a unit inside a unit, and a unit beside it (upstream's
    `NestedWrappedModule`, torch 2.13).

    Args:
        group: the process group.
        wrap_fsdp: whether the units are wrapped; the model itself is not.
        device_init_mode: when the layers go to the device.
        deterministic: every rank gets the same parameters.
        fsdp_kwargs: arguments for FSDP.
    """

    @takes_cuda_init_mode
    def __init__(
        self,
        group: ProcessGroup,
        wrap_fsdp: bool,
        device_init_mode: DEVICEInitMode,
        deterministic: bool,
        **fsdp_kwargs: Any,
    ) -> None:
        super().__init__()
        self.rank, self.world_size = group.rank(), group.size()
        if deterministic:
            torch.manual_seed(0)
        on_device = device_init_mode is DEVICEInitMode.DEVICE_BEFORE
        self.module = self._layers(Building(group, wrap_fsdp, on_device, fsdp_kwargs))

    def _layers(self, build: Building) -> nn.Sequential:
        first = build.linear(8, 4)
        nested = build.unit(build.unit(build.linear(4, 16)), build.linear(16, 16))
        return nn.Sequential(first, nested, build.unit(build.linear(16, 4)), build.linear(4, 8))

    def get_input(self, device: torch.device | str) -> tuple[torch.Tensor, ...]:
        """Four rows of 8 features, drawn by the rank."""
        torch.manual_seed(self.rank + 1)
        return (torch.rand(4, 8, device=device),)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.module(x)
        return out

    def get_loss(self, input: Any, output: torch.Tensor) -> torch.Tensor:
        return output.sum()

    def run_backward(self, loss: torch.Tensor) -> None:
        torch.autograd.backward(loss)

    @classmethod
    @takes_cuda_init_mode
    def init(
        cls,
        group: ProcessGroup,
        fsdp_init_mode: FSDPInitMode,
        device_init_mode: DEVICEInitMode,
        fsdp_kwargs: FsdpArguments | None = None,
        deterministic: bool = False,
    ) -> nn.Module:
        """The model with its units wrapped, or without FSDP; `fsdp_kwargs` are arguments for FSDP.

        Raises:
            ValueError: there is no such FSDP mode.
        """

        def make(wrap: bool) -> nn.Module:
            return cls._made(group, wrap, device_init_mode, deterministic, fsdp_kwargs or {})

        return initialized(make, fsdp_init_mode, device_init_mode)

    @classmethod
    def _made(
        cls, group: ProcessGroup, wrap: bool, mode: DEVICEInitMode, deterministic: bool, fsdp_kwargs: FsdpArguments
    ) -> nn.Module:
        return cls(group, wrap, mode, deterministic, **(fsdp_kwargs if wrap else {}))


class AlwaysWrapNestedWrappedModule(NestedWrappedModule):
    """A `NestedWrappedModule` of which FSDP wraps every module, itself too (upstream's name, torch 2.13)."""

    @classmethod
    def _made(
        cls, group: ProcessGroup, wrap: bool, mode: DEVICEInitMode, deterministic: bool, fsdp_kwargs: FsdpArguments
    ) -> nn.Module:
        plain = cls(group, False, mode, deterministic)
        return fsdp_unit(plain, **{"auto_wrap_policy": always_wrap_policy, **fsdp_kwargs}) if wrap else plain


class NonUniformReqGradNWM(NestedWrappedModule):
    """A `NestedWrappedModule` whose last two layers are one unit, and whose very last is all that is trained, so that
    some ranks hold no part of what is trained (upstream's `NonUniformReqGradNWM`, torch 2.13)."""

    #: Names of the trained parameters, whether FSDP's wrapper stands in them or not.
    TRAINED = re.compile(r"module\.2.*\.1.*")

    def _layers(self, build: Building) -> nn.Sequential:
        first = build.linear(8, 4)
        nested = build.unit(build.unit(build.linear(4, 16)), build.linear(16, 16))
        return nn.Sequential(first, nested, build.unit(build.linear(16, 4), build.linear(4, 8)))

    @staticmethod
    def _set_nonuniform_req_grad(model: nn.Module, req_grad_mask: str | re.Pattern[str]) -> None:
        """Freezes the parameters whose names `req_grad_mask` does not match."""
        for name, parameter in model.named_parameters():
            if re.match(req_grad_mask, name) is None:
                parameter.requires_grad_(False)

    @classmethod
    def _made(cls, *args: Any) -> nn.Module:
        model = super()._made(*args)
        cls._set_nonuniform_req_grad(model, cls.TRAINED)
        return model
