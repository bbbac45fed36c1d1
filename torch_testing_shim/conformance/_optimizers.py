"""The table of optimizers whose state is saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch._dynamo  # the first optimizer of a process imports it: here once, not in every rank

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: With these, and a rate that falls by 3/4, Adam's first two steps multiply by powers of two alone: rate / (1 - 1/2),
#: then 3/4 rate / (1 - 1/4). So nothing depends on whether a multiplication is fused with an addition.
_LEARNING_RATE = 0.5
_ADAM: dict[str, Any] = {"lr": _LEARNING_RATE, "betas": (0.5, 0.75), "weight_decay": 0.5}


class SlowSign(torch.optim.Optimizer):
    """An optimizer as a user writes one: it follows the sign of an average, and keeps tensors and a plain number."""

    def __init__(self, params: Iterable[torch.Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr, "decay": 0.75})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # it takes none
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state.update(average=torch.zeros_like(parameter), steps=0)
                state["steps"] += 1
                state["average"].mul_(group["decay"]).add_(parameter.grad, alpha=1 - group["decay"])
                parameter.add_(state["average"].sign(), alpha=-group["lr"])


@dataclass(frozen=True)
class OptimizerRecord:
    """One optimizer of the table.

    Attributes:
        name: its name in reports.
        build: makes it for parameters.
    """

    name: str
    build: Callable[[Iterable[torch.Tensor]], torch.optim.Optimizer]

    def why_not(self, device_type: str) -> str | None:
        """Return why this torch cannot step it on plain tensors of the device; None where it can."""
        parameter = torch.nn.Parameter(torch.ones(2, device=device_type))
        parameter.grad = torch.ones_like(parameter)
        try:
            self.build([parameter]).step()
        except (RuntimeError, TypeError) as error:
            return str(error).partition("\n")[0]
        return None


OPTIMIZERS = (
    OptimizerRecord("AdamW foreach", lambda params: torch.optim.AdamW(params, **_ADAM, foreach=True)),
    OptimizerRecord("AdamW fused", lambda params: torch.optim.AdamW(params, **_ADAM, fused=True)),
    OptimizerRecord("Adam", lambda params: torch.optim.Adam(params, **_ADAM | {"weight_decay": 0.0}, foreach=False)),
    OptimizerRecord("SGD with momentum", lambda params: torch.optim.SGD(params, lr=_LEARNING_RATE, momentum=0.5)),
    OptimizerRecord("user-made", lambda params: SlowSign(params, lr=_LEARNING_RATE)),
)
