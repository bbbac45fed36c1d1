"""Upstream's `distributed._shard.test_common`: a model of two layers to shard as Megatron-LM does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn

from torch_testing_shim._engine.devices import rank_device
from torch_testing_shim._upstream.class_rest import TorchsRest
from torch_testing_shim._upstream.graft import served

__getattr__ = served(__name__)


class SimpleMegatronLM(nn.Module):
    """Two linear layers with a GELU between them (upstream's `SimpleMegatronLM`, torch 2.13).

    Args:
        linear_size: (inputs, outputs) of both layers.
        rank: the layers go to the device of this rank, where there are accelerators.
        dtype: of the parameters.
    """

    __test__ = False
    rest_is_torchs = TorchsRest()

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
