"""FSDP's training held against a reference's: same losses, same parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn as nn
from torch.distributed.fsdp import CPUOffload, MixedPrecision
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.nn.parallel import DistributedDataParallel as DDP

from torch_testing_shim._fsdp.fsdp_device import device_type, fsdp_unit, to_device
from torch_testing_shim._fsdp.init_modes import DEVICEInitMode, FSDPInitMode
from torch_testing_shim._fsdp.model_states import get_full_params
from torch_testing_shim._fsdp.transformer_model import FSDPTestModel

__all__ = ["Parity", "check_parity"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

LEARNING_RATE = 1e-2


@dataclass(frozen=True)
class Parity:
    """What is compared.

    Attributes:
        model_class: the test model.
        fsdp_init_mode, device_init_mode: how FSDP's model is made.
        reference: makes the reference of the bare model; DDP where it is None.
        init_arguments: the model's own, for its `init`.
        fsdp_arguments: FSDP's.
        steps: how many steps are trained.
        reloads: FSDP's model is saved and loaded after each step.
        cpu_offload, mixed_precision: as FSDP takes them.
        pure_fp16: both models are float16.
        scaling: arguments of `_train_for_several_steps` that concern the scaling of gradients.
    """

    model_class: type[FSDPTestModel]
    fsdp_init_mode: FSDPInitMode
    device_init_mode: DEVICEInitMode
    reference: Callable[[nn.Module], nn.Module] | None = None
    init_arguments: Mapping[str, Any] = field(default_factory=dict)
    fsdp_arguments: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 2
    reloads: bool = True
    cpu_offload: CPUOffload | None = None
    mixed_precision: MixedPrecision | None = None
    pure_fp16: bool = False
    scaling: Mapping[str, Any] = field(default_factory=dict)

    @property
    def offloads(self) -> bool:
        return self.cpu_offload is not None and self.cpu_offload.offload_params

    @property
    def is_refused(self) -> bool:
        """Whether FSDP is to refuse the model: it offloads parameters that were then moved away from the CPU."""
        moved = self.device_init_mode is DEVICEInitMode.DEVICE_AFTER
        return self.offloads and moved and device_type() != "cpu"


def check_parity(case: Any, parity: Parity) -> None:
    """Trains both, by the test case's `_train_for_several_steps`, and compares.

    Raises:
        AssertionError: they differ, or the FSDP mode is one without FSDP.
        ValueError: FSDP's model cannot be made.
    """
    if parity.fsdp_init_mode is FSDPInitMode.NO_FSDP:
        raise AssertionError("parity needs an FSDP init mode that wraps")
    reference = _reference(case, parity)
    reference_loss = _trained(case, reference, parity, autocast=parity.mixed_precision is not None)
    model = _fsdp_model(case, parity)
    if parity.offloads and not parity.is_refused:
        _check_offloaded(case, model)
    refusal = f"parameter CPU offloading enabled has parameters on {device_type()}"
    with case.assertRaisesRegex(RuntimeError, refusal) if parity.is_refused else nullcontext():
        loss = _trained(case, model, parity, autocast=False, save_model=parity.reloads)
    if parity.is_refused:
        return
    if parity.offloads:
        _check_offloaded(case, model)
    torch.testing.assert_close(reference_loss, loss.to(device_type()), check_dtype=False)
    # With lower precision the reference keeps its parameters in another type, so only the losses are comparable.
    whole = get_full_params(model)
    if parity.mixed_precision is None and not parity.pure_fp16:
        expected = list(reference.parameters())
        case.assertEqual(expected, whole, msg="FSDP did not match DDP", exact_device=True)


def _trained(case: Any, model: nn.Module, parity: Parity, **arguments: Any) -> torch.Tensor:
    loss: torch.Tensor = case._train_for_several_steps(
        model,
        parity.steps,
        lr=LEARNING_RATE,
        fsdp_cpu_offload=parity.cpu_offload,
        mixed_precision=parity.mixed_precision,
        use_pure_fp16=parity.pure_fp16,
        **parity.scaling,
        **arguments,
    )
    return loss


def _reference(case: Any, parity: Parity) -> nn.Module:
    modes = (FSDPInitMode.NO_FSDP, DEVICEInitMode.DEVICE_BEFORE)
    model = parity.model_class.init(case.process_group, *modes, deterministic=True, **parity.init_arguments)
    if parity.reference is not None:
        reference = parity.reference(model)
    else:
        device = next(model.parameters()).device
        reference = DDP(model, device_ids=None if device.type == "cpu" else [device])
    return reference.half() if parity.pure_fp16 else reference


def _fsdp_model(case: Any, parity: Parity) -> FSDP:
    modes = (parity.fsdp_init_mode, parity.device_init_mode)
    arguments = dict(parity.fsdp_arguments)
    try:
        model = parity.model_class.init(
            case.process_group, *modes, dict(arguments), deterministic=True, **parity.init_arguments
        )
    except Exception as error:
        raise ValueError(f"Initializing {parity.model_class} raised error {error}") from error
    if not isinstance(model, FSDP):
        model = fsdp_unit(model, case.process_group, **arguments)
    model = model.half() if parity.pure_fp16 else model
    to_device(model, parity.device_init_mode is DEVICEInitMode.DEVICE_AFTER)
    return model


def _check_offloaded(case: Any, model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        case.assertEqual(parameter.device, torch.device("cpu"), f"{name} was to be offloaded")
