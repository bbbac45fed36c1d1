"""The model that strategies shard, its training, and the unsharded reference that is trained beside it.

Parallel linear layers, not a chain, over inputs, gradients and first values of few bits, by optimizers whose factors
are sums of few powers of two (see `_optimizers`). So no operation rounds where an order of sums or a vector instruction
could make it round otherwise: a sharded training gives the bits of an unsharded one, and a difference after a load
comes from the checkpoint.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_IN_FEATURES = 8
_STEPS = 2
#: Does not divide by 3, 4 and 8 ranks, and leaves none of them without a row.
_UNEVEN = 22
#: A gradient is a multiple of it, so that it can be divided by 3 and 6 ranks without rounding.
_DIVISIBLE = 3.0
#: First values are multiples of 1 / this.
_STEPS_OF_ONE = 256
#: The learning rate falls by it in each step (see `_optimizers`).
_DECAY = 0.75
SEED = 20


class Branches(nn.Module):
    """Linear layers side by side: two of one shape, one whose rows do not divide evenly, perhaps one of a single row;
    and buffers, a scalar among them."""

    def __init__(self, has_short_layer: bool) -> None:
        super().__init__()
        self.even = nn.Linear(_IN_FEATURES, 8)
        self.twin = nn.Linear(_IN_FEATURES, 8)
        self.uneven = nn.Linear(_IN_FEATURES, _UNEVEN)
        if has_short_layer:
            self.short = nn.Linear(_IN_FEATURES, 1, bias=False)
        self.calls: torch.Tensor
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.scale: torch.Tensor
        self.register_buffer("scale", torch.rand(3))

    @property
    def layers(self) -> list[nn.Module]:
        return list(self.children())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        outputs = [layer(inputs) for layer in self.layers]
        weights = [torch.arange(1, out.size(-1) + 1, device=out.device, dtype=out.dtype) for out in outputs]
        return torch.stack([(out * weight).sum() for out, weight in zip(outputs, weights, strict=True)]).sum()


def new_model(device_type: str, has_short_layer: bool, seed: int) -> Branches:
    """Make the model with the same values in every process; another seed gives others."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Branches(has_short_layer)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(_STEPS_OF_ONE).round_().div_(_STEPS_OF_ONE)
    return model.to(device_type)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, device_type: str) -> None:
    """Take some steps on fixed inputs, with a learning rate that falls."""
    inputs = torch.arange(1, _IN_FEATURES + 1, device=device_type, dtype=torch.float32).reshape(1, -1)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        (model(inputs) * _DIVISIBLE).backward()
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] *= _DECAY


def reference_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return an unsharded training's state under the names of `flat_training_state`."""
    state: dict[str, Any] = {f"model.{name}": value for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        state.update({f"optimizer.{name}.{key}": value for key, value in optimizer.state[parameter].items()})
    return state | {"learning rate": optimizer.param_groups[0]["lr"]}


def flat_training_state(
    model_state: dict[str, Any], optimizer_state: dict[str, Any], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Return the state dicts of `get_state_dict` and the learning rate as one dict of dotted names."""
    state = {f"model.{name}": value for name, value in model_state.items()}
    for name, values in optimizer_state["state"].items():
        state.update({f"optimizer.{name}.{key}": value for key, value in values.items()})
    return state | {"learning rate": optimizer.param_groups[0]["lr"]}
