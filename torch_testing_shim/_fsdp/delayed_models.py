"""Test models that take their time at one point of a training step."""

from __future__ import annotations

from typing import Any
from unittest import mock

import torch
import torch.nn as nn
from torch.distributed import ProcessGroup

from torch_testing_shim._fsdp.delays import delay, delayed
from torch_testing_shim._fsdp.init_modes import DEVICEInitMode, FsdpArguments, FSDPInitMode, takes_cuda_init_mode
from torch_testing_shim._fsdp.nested_models import NestedWrappedModule
from torch_testing_shim._fsdp.transformer_model import FSDPTestModel
from torch_testing_shim._torch_versions import REDUCE_SCATTER

__all__ = ["ModuleWithDelay", "NestedWrappedModuleWithDelay"]


class ModuleWithDelay(FSDPTestModel):
    """A test model that waits after its loss, or before FSDP reduces its gradients (upstream's `ModuleWithDelay`,
    torch 2.13; here it waits on the CPU too).

    Args:
        module: the test model.
        delay_after_loss_ms, delay_before_reduction_ms: milliseconds; 0 for none.
    """

    module: Any

    def __init__(self, module: nn.Module, delay_after_loss_ms: int, delay_before_reduction_ms: int) -> None:
        super().__init__()
        self.delay_after_loss_ms, self.delay_before_reduction_ms = delay_after_loss_ms, delay_before_reduction_ms
        self.module = module

    def get_input(self, device: torch.device | str) -> tuple[torch.Tensor, ...]:
        inputs: tuple[torch.Tensor, ...] = self.module.get_input(device)
        return inputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.module(x)
        return output

    def get_loss(self, input: Any, output: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self.module.get_loss(input, output)
        if self.delay_after_loss_ms > 0:
            delay(self.delay_after_loss_ms)
        return loss

    def run_backward(self, loss: torch.Tensor) -> None:
        reduce_scatter = delayed(getattr(torch.distributed, REDUCE_SCATTER), self.delay_before_reduction_ms)
        with mock.patch.object(torch.distributed, REDUCE_SCATTER, reduce_scatter):
            self.module.run_backward(loss)

    @staticmethod
    def init(
        module_class: type[FSDPTestModel],
        *model_args: object,
        delay_after_loss_ms: int,
        delay_before_reduction_ms: int,
        **model_kwargs: object,
    ) -> ModuleWithDelay:
        """`module_class.init(*model_args, **model_kwargs)` with the delays."""
        model = module_class.init(*model_args, **model_kwargs)
        return ModuleWithDelay(model, delay_after_loss_ms, delay_before_reduction_ms)


class NestedWrappedModuleWithDelay(ModuleWithDelay):
    """A `NestedWrappedModule` with delays (upstream's name, torch 2.13)."""

    @staticmethod
    @takes_cuda_init_mode
    def init(  # type: ignore[override]
        group: ProcessGroup,
        fsdp_init_mode: FSDPInitMode,
        device_init_mode: DEVICEInitMode = DEVICEInitMode.DEVICE_AFTER,
        fsdp_kwargs: FsdpArguments | None = None,
        deterministic: bool = False,
        delay_after_loss_ms: int = 0,
        delay_before_reduction_ms: int = 0,
    ) -> ModuleWithDelay:
        """`NestedWrappedModule.init` with the delays, in milliseconds."""
        model = NestedWrappedModule.init(group, fsdp_init_mode, device_init_mode, fsdp_kwargs, deterministic)
        return ModuleWithDelay(model, delay_after_loss_ms, delay_before_reduction_ms)
