"""The interface of the test models of FSDP, and a transformer whose embedding and output projection share a weight."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributed import ProcessGroup
from torch.distributed.fsdp import ShardingStrategy
from torch.distributed.fsdp.wrap import ModuleWrapPolicy

from torch_testing_shim._fsdp.fsdp_device import fsdp_unit, to_device
from torch_testing_shim._fsdp.init_modes import (
    DEVICEInitMode,
    FsdpArguments,
    FSDPInitMode,
    initialized,
    takes_cuda_init_mode,
)

__all__ = ["FSDPTestModel", "TransformerWithSharedParams"]

VOCABULARY, WIDTH, BATCH = 23, 16, 2
SOURCE_LENGTH, TARGET_LENGTH = 6, 4

#: Strategies that shard inside a node and replicate between nodes: FSDP makes the groups for it.
_HYBRID = (ShardingStrategy.HYBRID_SHARD, ShardingStrategy._HYBRID_SHARD_ZERO2)


class FSDPTestModel(nn.Module, ABC):
    """What the training helpers ask of a model (upstream's `FSDPTestModel`, torch 2.13)."""

    @abstractmethod
    def get_input(self, device: torch.device | str) -> tuple[torch.Tensor, ...]:
        """This rank's input, the same each time."""

    @abstractmethod
    def get_loss(self, input: Any, output: Any) -> torch.Tensor:
        """The loss, a scalar."""

    @abstractmethod
    def run_backward(self, loss: torch.Tensor) -> None:
        """The backward pass."""

    @staticmethod
    @abstractmethod
    def init(*args: Any, **kwargs: Any) -> nn.Module:
        """A model as the init modes ask for it."""


class TransformerWithSharedParams(FSDPTestModel):
    """A small transformer on token ids; its output projection has the embedding's weight, and it has buffers
    (upstream's `TransformerWithSharedParams`, torch 2.13).

    Args:
        group: the process group; the rank in it seeds the input.
        device_init_mode: when the model goes to the device.
        add_bn: it has a batch norm.
        deterministic: every rank gets the same parameters, and dropout is off.
    """

    @takes_cuda_init_mode
    def __init__(
        self, group: ProcessGroup, device_init_mode: DEVICEInitMode, add_bn: bool, deterministic: bool
    ) -> None:
        super().__init__()
        self.rank, self.world_size, self.bs = group.rank(), group.size(), BATCH
        if deterministic:
            torch.manual_seed(0)
        self.embed_tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.transformer = nn.Transformer(
            WIDTH, num_encoder_layers=2, num_decoder_layers=2, dim_feedforward=8, dropout=0.1
        )
        self.output_proj = nn.Linear(WIDTH, VOCABULARY)
        self.output_proj.weight = self.embed_tokens.weight
        self.register_buffer("vocab_bias", torch.ones(WIDTH))
        self.register_buffer("long_buffer", torch.zeros(WIDTH, dtype=torch.long))
        self.bn = nn.BatchNorm1d(BATCH) if add_bn else nn.Identity()
        to_device(self, device_init_mode is DEVICEInitMode.DEVICE_BEFORE)
        self.train(not deterministic)

    def get_input(self, device: torch.device | str) -> tuple[torch.Tensor, ...]:
        """Token ids of the source, 6 x 2, and of the target, 4 x 2."""
        torch.manual_seed(self.rank + 1)
        lengths = (SOURCE_LENGTH, TARGET_LENGTH)
        return tuple(torch.arange(length * self.bs, device=device).view(length, self.bs) for length in lengths)

    def forward(self, src_ids: torch.Tensor, tgt_ids: torch.Tensor) -> torch.Tensor:
        """Logits of the target's tokens: (length, batch, vocabulary)."""
        source = self.embed_tokens(src_ids)
        source = source + self.vocab_bias + self.long_buffer.to(source.dtype)
        hidden: torch.Tensor = self.transformer(source, self.bn(self.embed_tokens(tgt_ids)))
        logits: torch.Tensor = self.output_proj(hidden)
        return logits

    def get_loss(self, input: Any, output: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(output.flatten(0, -2), input[1].flatten(), reduction="sum")

    def run_backward(self, loss: torch.Tensor) -> None:
        torch.autograd.backward(loss)

    @staticmethod
    @takes_cuda_init_mode
    def init(
        group: ProcessGroup,
        fsdp_init_mode: FSDPInitMode,
        device_init_mode: DEVICEInitMode,
        fsdp_kwargs: FsdpArguments | None = None,
        deterministic: bool = False,
        add_bn: bool = True,
    ) -> nn.Module:
        """The model alone, or wrapped by FSDP, each layer of encoder and decoder a unit unless `fsdp_kwargs` has an
        `auto_wrap_policy`.

        Args:
            group: the process group, or a pair of them for hybrid sharding.
            fsdp_kwargs: arguments for FSDP.

        Raises:
            ValueError: there is no such FSDP mode.
        """

        def make(wrap: bool) -> nn.Module:
            first = group[0] if isinstance(group, tuple) else group
            model = TransformerWithSharedParams(first, device_init_mode, add_bn, deterministic)
            return _wrapped(model, group, fsdp_kwargs or {}) if wrap else model

        return initialized(make, fsdp_init_mode, device_init_mode)

    def get_ignored_modules(self) -> list[nn.Module]:
        """Modules that tests of ignored modules hand to FSDP."""
        return [self.transformer]


def _wrapped(model: nn.Module, group: object, fsdp_kwargs: dict[str, Any]) -> nn.Module:
    layers = ModuleWrapPolicy({nn.TransformerEncoderLayer, nn.TransformerDecoderLayer})
    is_hybrid = fsdp_kwargs.get("sharding_strategy") in _HYBRID
    fsdp_group = None if is_hybrid and not isinstance(group, tuple) else group
    return fsdp_unit(model, fsdp_group, **{"auto_wrap_policy": layers, **fsdp_kwargs})
