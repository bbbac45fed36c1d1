"""A model with parameters that each rank has for itself."""

from __future__ import annotations

from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.distributed import ProcessGroup
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

from torch_testing_shim._fsdp.delays import delayed
from torch_testing_shim._fsdp.fsdp_device import fsdp_unit
from torch_testing_shim._fsdp.init_modes import (
    DEVICEInitMode,
    FsdpArguments,
    FSDPInitMode,
    initialized,
    takes_cuda_init_mode,
)
from torch_testing_shim._fsdp.nested_models import Building, NestedWrappedModule

__all__ = ["MixtureOfExperts"]

_RESHARD = "torch.distributed.fsdp._runtime_utils._reshard"
EXPERT_WIDTH, SHARED_WIDTH, INPUT_WIDTH = 23, 12, 8
EXPERT_SEED = 42


class MixtureOfExperts(NestedWrappedModule):
    """A model with an expert layer, whose parameters each rank has for itself, and a shared one before it (upstream's
    `MixtureOfExperts`, torch 2.13).

    The expert's parameters have the attribute `expert`. Without FSDP, `run_backward` averages the gradients of all
    others over the group.

    Args:
        delay_before_free_ms: with FSDP, how long the forward pass waits before it frees gathered parameters.
    """

    @takes_cuda_init_mode
    def __init__(
        self,
        group: ProcessGroup,
        wrap_fsdp: bool,
        device_init_mode: DEVICEInitMode,
        delay_before_free_ms: int,
        deterministic: bool,
        **fsdp_kwargs: Any,
    ) -> None:
        self._is_deterministic = deterministic
        super().__init__(group, wrap_fsdp, device_init_mode, deterministic, **fsdp_kwargs)
        self.group, self.wrap_fsdp, self.delay_before_free_ms = group, wrap_fsdp, delay_before_free_ms
        self.move_to_device = device_init_mode is DEVICEInitMode.DEVICE_BEFORE

    def _layers(self, build: Building) -> nn.Sequential:
        if self._is_deterministic:
            torch.manual_seed(EXPERT_SEED + self.rank)
        expert = build.linear(EXPERT_WIDTH, SHARED_WIDTH)
        self.num_expert_params = sum(parameter.numel() for parameter in expert.parameters())
        for parameter in expert.parameters():
            parameter.expert = True  # type: ignore[attr-defined]
        if self._is_deterministic:
            torch.manual_seed(0)
        shared = build.linear(SHARED_WIDTH, EXPERT_WIDTH)
        if build.wrap_fsdp:
            alone = dist.new_group([build.group.rank()])
            expert, shared = fsdp_unit(expert, alone, **build.fsdp_kwargs), build.unit(shared)
        first = build.linear(INPUT_WIDTH, SHARED_WIDTH)
        return nn.Sequential(first, shared, expert, build.linear(SHARED_WIDTH, INPUT_WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (self.delay_before_free_ms > 0 and isinstance(self.module[2], FSDP)):
            return super().forward(x)
        reshard = torch.distributed.fsdp._runtime_utils._reshard
        with mock.patch(_RESHARD, delayed(reshard, self.delay_before_free_ms)):
            return super().forward(x)

    def run_backward(self, loss: torch.Tensor) -> None:
        super().run_backward(loss)
        if self.wrap_fsdp:
            return
        shared = (parameter for parameter in self.parameters() if not hasattr(parameter, "expert"))
        for gradient in (parameter.grad for parameter in shared if parameter.grad is not None):
            gradient /= self.world_size
            dist.all_reduce(gradient, group=self.group)

    @classmethod
    @takes_cuda_init_mode
    def init(
        cls,
        group: ProcessGroup,
        fsdp_init_mode: FSDPInitMode,
        device_init_mode: DEVICEInitMode,
        fsdp_kwargs: FsdpArguments | None = None,
        deterministic: bool = False,
        delay_before_free_ms: int = 0,
    ) -> nn.Module:
        """The model with the expert and the shared layer wrapped, or without FSDP.

        Raises:
            ValueError: there is no such FSDP mode.
        """

        def make(wrap: bool) -> nn.Module:
            arguments = fsdp_kwargs if wrap and fsdp_kwargs else {}
            return cls(group, wrap, device_init_mode, delay_before_free_ms, deterministic, **arguments)

        return initialized(make, fsdp_init_mode, device_init_mode)
