"""A few steps of training with FSDP or a reference, and what has to hold on the way."""

from __future__ import annotations

import unittest
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import MixedPrecision
from torch.distributed.fsdp._common_utils import TrainingState
from torch.distributed.fsdp._init_utils import NO_RESHARD_AFTER_FORWARD_STRATEGIES
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

from torch_testing_shim._fsdp.fsdp_device import device_type
from torch_testing_shim._fsdp.model_states import _zero_model

__all__ = ["Training", "train"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Not Adam: its steps do not depend on the scale of gradients, so it would hide a wrong scale.
MOMENTUM = 0.9


@dataclass(frozen=True)
class Training:
    """How a model is trained.

    Attributes:
        steps: how many steps.
        learning_rate: of SGD with momentum.
        autocast: the forward pass runs in autocast, as a reference for mixed precision.
        offloads_params: FSDP keeps its parameters on the CPU.
        reloads: after each step the model's state dict is saved, the model cleared, and the state dict loaded.
        mixed_precision: FSDP's, or None.
        pure_fp16: model and inputs are float16.
        scales_gradients: gradients are scaled by a `ShardedGradScaler`.
        scaler_arguments: the scaler's arguments.
    """

    steps: int
    learning_rate: float
    autocast: bool = False
    offloads_params: bool = False
    reloads: bool = False
    mixed_precision: MixedPrecision | None = None
    pure_fp16: bool = False
    scales_gradients: bool = False
    scaler_arguments: Mapping[str, Any] = field(default_factory=dict)


def train(case: unittest.TestCase, model: Any, training: Training) -> torch.Tensor:
    """Trains `model`, whose `module` is an `FSDPTestModel`, and returns the last loss.

    Raises:
        AssertionError: parameters or the loss are not where, or of what type, they have to be.
        ValueError: there are no steps.
    """
    if training.steps < 1:
        raise ValueError(f"training takes at least 1 step, not {training.steps}")
    arguments = {"device": device_type(), **training.scaler_arguments}
    scaler = ShardedGradScaler(enabled=training.scales_gradients, **arguments)
    optimizer = torch.optim.SGD(model.parameters(), training.learning_rate, MOMENTUM)
    for _ in range(training.steps):
        optimizer.zero_grad()
        loss = scaler.scale(_loss(case, model, training))
        _check_loss_type(case, loss, isinstance(model, FSDP), training)
        model.module.run_backward(loss)
        if training.offloads_params and isinstance(model, FSDP):
            _check_on_cpu(case, model)
        scaler.step(optimizer)
        scaler.update()
        if training.reloads:
            saved = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            _zero_model(model)  # so that a load which does nothing shows
            model.load_state_dict(saved)
    if isinstance(model, FSDP):
        model._assert_state(TrainingState.IDLE)
    result: torch.Tensor = loss.detach()
    return result


def _loss(case: unittest.TestCase, model: Any, training: Training) -> torch.Tensor:
    on = next(model.parameters()).device
    device = device_type()
    is_fsdp = isinstance(model, FSDP)
    with torch.amp.autocast(device, enabled=training.autocast):
        inputs = model.module.get_input(torch.device(device))
        if training.pure_fp16 or (training.mixed_precision and not is_fsdp):
            inputs = inputs.half() if isinstance(inputs, torch.Tensor) else tuple(each.half() for each in inputs)
        output = model(*inputs)
        # Where nothing is resharded after the forward pass, the parameters are still views of the gathered ones.
        if training.offloads_params and is_fsdp and model.sharding_strategy not in NO_RESHARD_AFTER_FORWARD_STRATEGIES:
            _check_on_cpu(case, model)
        loss: torch.Tensor = model.module.get_loss(inputs, output).to(on)
    return loss


def _check_on_cpu(case: unittest.TestCase, model: torch.nn.Module) -> None:
    for name, parameter in model.named_parameters():
        case.assertEqual(parameter.device, torch.device("cpu"), f"{name} was to be offloaded")


def _check_loss_type(case: unittest.TestCase, loss: torch.Tensor, is_fsdp: bool, training: Training) -> None:
    if training.pure_fp16:
        expected = torch.float16
    elif training.mixed_precision and is_fsdp:
        expected = training.mixed_precision.param_dtype or torch.float32
    elif training.autocast and device_type() == "cpu":
        expected = torch.get_autocast_dtype("cpu")  # whose sums, unlike an accelerator's, stay in the low precision
    else:
        expected = torch.float32
    case.assertEqual(loss.dtype, expected, "type of the loss")
