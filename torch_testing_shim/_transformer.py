"""A small transformer for tests of DTensor and of parallelism, with what it is made of.

They are plain modules. How the transformer is split over a mesh stands in `_transformer_plan`, which is imported when
that is asked for: DTensor takes half a second to import.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.utils.checkpoint
from torch.distributed.device_mesh import DeviceMesh

__all__ = [
    "Attention",
    "ExpertLayer",
    "Experts",
    "FeedForward",
    "ModelArgs",
    "Transformer",
    "TransformerBlock",
]

Count = int
Probability = float
Switch = bool
Mesh = DeviceMesh | None


@dataclass
class ModelArgs:
    """What a `Transformer` is like (upstream's `ModelArgs`, torch 2.13)."""

    n_layers: int = 2  # blocks
    #: Known tokens and positions.
    vocab_size: Count = 8
    max_seq_len: Count = 16
    dim: int = 16  # features; a feed-forward layer has 4 times as many inside
    #: Heads of each block's attention, of dim / n_heads features.
    n_heads: Count = 4
    dropout_p: Probability = 0.1
    use_attn_mask: bool = True  # a token sees none after it
    weight_tying: bool = True  # the output has the embedding's weight
    #: The blocks' activations are computed again in the backward pass.
    checkpoint_activations: Switch = False
    num_experts: int = 0  # each block has so many in place of a feed-forward layer; 0 for none


class Attention(nn.Module):
    """Self-attention of `args.n_heads` heads, without biases.

    Raises:
        ValueError: the features cannot be shared out among the heads.
    """

    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        if args.dim % args.n_heads:
            raise ValueError(f"{args.dim} features cannot be shared out among {args.n_heads} heads")
        self.n_heads, self.head_dim = args.n_heads, args.dim // args.n_heads
        self.use_attn_mask, self.dropout_p = args.use_attn_mask, args.dropout_p
        linear = functools.partial(nn.Linear, args.dim, args.dim, bias=False)
        self.wq, self.wk, self.wv, self.wo = linear(), linear(), linear(), linear()
        self.resid_dropout = nn.Dropout(args.dropout_p)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        # Heads before positions; with tensor parallelism a rank has some of the heads, so n_heads may be changed.
        heads = (batch, length, self.n_heads, self.head_dim)
        query, key, value = (project(x).view(heads).transpose(1, 2) for project in (self.wq, self.wk, self.wv))
        dropout = self.dropout_p if self.training else 0.0
        attend = functools.partial(F.scaled_dot_product_attention, dropout_p=dropout, is_causal=self.use_attn_mask)
        mixed = _on_own_heads(attend, query, key, value) if _is_sharded_on_cpu(query) else attend(query, key, value)
        joined = mixed.transpose(1, 2).reshape(batch, length, -1)
        out: torch.Tensor = self.resid_dropout(self.wo(joined))
        return out


def _is_sharded_on_cpu(tensor: torch.Tensor) -> bool:
    return hasattr(tensor, "to_local") and tensor.device.type == "cpu"


def _on_own_heads(attend: Callable[..., torch.Tensor], query: Any, key: Any, value: Any) -> torch.Tensor:
    """Attention of DTensors that are sharded by heads: each rank attends with its own. DTensor does it by itself, but
    not with the CPU's kernel (torch 2.13)."""
    own = attend(query.to_local(), key.to_local(), value.to_local())
    whole: torch.Tensor = type(query).from_local(own, query.device_mesh, query.placements)
    return whole


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them, then dropout."""

    def __init__(self, dim: int, hidden_dim: int, dropout_p: float) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Linear(dim, hidden_dim), nn.Linear(hidden_dim, dim)
        self.gelu, self.resid_dropout = nn.GELU(), nn.Dropout(dropout_p)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.gelu(self.w1(x))
        out: torch.Tensor = self.resid_dropout(self.w2(hidden))
        return out


class Experts(nn.Module):
    """The sum of `num_experts` perceptrons without biases, over (tokens, dim).

    The weights may be DTensors, of which this rank's shard is used; tokens are plain tensors.
    """

    def __init__(self, dim: int, hidden_dim: int, num_experts: int) -> None:
        super().__init__()
        self.num_experts, self.gelu = num_experts, nn.GELU()
        self.w1 = nn.Parameter(torch.empty(num_experts, hidden_dim, dim))
        self.w2 = nn.Parameter(torch.empty(num_experts, dim, hidden_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for weight in (self.w1, self.w2):
            nn.init.normal_(weight, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = (_own_part(weight) for weight in (self.w1, self.w2))
        hidden = self.gelu(x @ first.mT)
        total: torch.Tensor = (hidden @ second.mT).sum(dim=0)
        return total


def _own_part(weight: Any) -> torch.Tensor:
    """A DTensor's shard on this rank; a plain tensor itself."""
    part: torch.Tensor = weight.to_local() if hasattr(weight, "to_local") else weight
    return part


class ExpertLayer(nn.Module):
    """The mean of experts, over (batch, length, dim)."""

    def __init__(self, num_experts: int, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.experts, self.num_experts = Experts(dim, hidden_dim, num_experts), num_experts

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = _own_part(x)  # each is worked on by itself, so where it stands in the whole does not matter
        total: torch.Tensor = self.experts(tokens.flatten(0, 1))
        return (total / self.num_experts).view(tokens.shape)


class TransformerBlock(nn.Module):
    """Attention, then a feed-forward layer or experts, each after a norm and added to what came in (upstream's
    `TransformerBlock`, torch 2.13)."""

    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        hidden = 4 * args.dim
        self.has_experts = args.num_experts > 0
        self.attention_norm, self.attention = nn.LayerNorm(args.dim), Attention(args)
        self.ffn_norm = nn.LayerNorm(args.dim)
        if self.has_experts:
            self.expert_layer = ExpertLayer(args.num_experts, args.dim, hidden)
        else:
            self.feed_forward = FeedForward(args.dim, hidden, args.dropout_p)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        attended = x + self.attention(self.attention_norm(x))
        second = self.expert_layer if self.has_experts else self.feed_forward
        out: torch.Tensor = attended + second(self.ffn_norm(attended))
        return out


class Transformer(nn.Module):
    """A transformer of blocks on token ids, (batch, length) to (batch, length, vocabulary) (upstream's `Transformer`,
    torch 2.13)."""

    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.model_args, self.max_seq_len = args, args.max_seq_len
        self.checkpoint_activations = args.checkpoint_activations
        self.tok_embeddings = nn.Embedding(args.vocab_size, args.dim)
        self.pos_embeddings = nn.Embedding(args.max_seq_len, args.dim)
        self.dropout = nn.Dropout(args.dropout_p)
        self.layers = nn.ModuleList(TransformerBlock(args) for _ in range(args.n_layers))
        self.norm = nn.LayerNorm(args.dim)
        self.output = nn.Linear(args.dim, args.vocab_size, bias=False)
        if args.weight_tying:
            self.output.weight = self.tok_embeddings.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits in float32.

        Raises:
            ValueError: there are more tokens than known positions.
        """
        length = tokens.shape[1]
        if length > self.max_seq_len:
            raise ValueError(f"{length} tokens are more than {self.max_seq_len}, the positions known")
        positions = self.pos_embeddings(torch.arange(length, device=tokens.device))
        hidden = self.dropout(self.tok_embeddings(tokens) + positions)
        for block in self.layers:
            hidden = self._checkpointed(block, hidden) if self.checkpoint_activations else block(hidden)
        logits: torch.Tensor = self.output(self.norm(hidden))
        return logits.float()

    @staticmethod
    def _checkpointed(block: nn.Module, hidden: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.utils.checkpoint.checkpoint(block, hidden, use_reentrant=False)
        return out

    @staticmethod
    def parallelize(
        module: Transformer,
        tp_mesh: Mesh,
        use_seq_parallel: bool,
        local_output_for_attn: bool = False,
        ep_mesh: Mesh = None,
    ) -> nn.Module:
        """Splits the transformer over meshes, in place, and returns it.

        Args:
            tp_mesh: its layers are split over this one-dimensional mesh (tensor parallelism).
            use_seq_parallel: norms and what lies between layers are sharded along the sequence.
            local_output_for_attn: attention sees plain tensors with this rank's heads, not DTensors.
            ep_mesh: the experts are shared out over this one-dimensional mesh.

        Raises:
            ValueError: there is no mesh at all.
        """
        from torch_testing_shim._transformer_plan import split_over_meshes

        if not isinstance(module, Transformer):
            raise TypeError(f"a Transformer is wanted, not {module!r}")
        split_over_meshes(module, tp_mesh, use_seq_parallel, local_output_for_attn, ep_mesh)
        return module
