"""Upstream's `distributed._shard.test_common`: a model of two layers to shard as Megatron-LM does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn

from torch_testing_shim._engine.devices import rank_device
from torch_testing_shim._upstream.graft import served

__getattr__ = served(__name__)

Pair = tuple[torch.Tensor | None, torch.Tensor | None]


class SimpleMegatronLM(nn.Module):
    """Two linear layers with a GELU between them (upstream's `SimpleMegatronLM`, torch 2.13).

    Args:
        linear_size: (inputs, outputs) of both layers.
        rank: the layers go to the device of this rank, where there are accelerators.
        dtype: of the parameters.
    """

    __test__ = False

    def __init__(
        self, linear_size: Sequence[tuple[int, int]], rank: int | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        place = None if rank is None else rank_device(rank)
        self.fc1, self.fc2 = (nn.Linear(*size, dtype=dtype).to(place) for size in linear_size)
        self.gelu = nn.GELU()

    def forward(self, inp: torch.Tensor) -> torch.Tensor:
        hidden = self.gelu(self.fc1(inp))
        out: torch.Tensor = self.fc2(hidden)
        return out

    def get_weights(self) -> Pair:
        """Return both weights; of a sharded one, this rank's shard."""
        return _of_rank(self.fc1.weight), _of_rank(self.fc2.weight)

    def get_biases(self) -> Pair:
        return self.fc1.bias, self.fc2.bias

    def get_weight_grads(self) -> Pair:
        return self.fc1.weight.grad, self.fc2.weight.grad

    def get_bias_grads(self) -> Pair:
        return self.fc1.bias.grad, self.fc2.bias.grad


def _of_rank(weight: torch.Tensor) -> torch.Tensor:
    from torch.distributed._shard.sharded_tensor.api import ShardedTensor

    return weight.local_tensor() if isinstance(weight, ShardedTensor) else weight
