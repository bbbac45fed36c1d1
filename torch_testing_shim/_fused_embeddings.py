"""Models of two embeddings, of which one stood alone before and keeps its name in state dicts."""

from __future__ import annotations

from typing import Any

import torch.nn as nn

__all__ = ["FusionEmbedding", "FusionEmbeddingWithHook", "FusionEmbeddingWithModifier"]


class FusionEmbedding(nn.Module):
    """An embedding and a second one beside it (upstream's `FusionEmbedding`, torch 2.13).

    Args:
        vocab_size, fusion_vocab_size: entries of the first and of the second.
        embed_dim: features of both.
    """

    def __init__(self, vocab_size: int, fusion_vocab_size: int, embed_dim: int) -> None:
        super().__init__()
        self.embedding, self.fusion_embedding = (
            nn.Embedding(entries, embed_dim) for entries in (vocab_size, fusion_vocab_size)
        )


class FusionEmbeddingWithHook(FusionEmbedding):
    """A `FusionEmbedding` whose state dict has the first embedding's weight as `weight`, as if it stood alone
    (upstream's `FusionEmbeddingWithHook`, torch 2.13)."""

    def __init__(self, vocab_size: int, fusion_vocab_size: int, embed_dim: int) -> None:
        super().__init__(vocab_size, fusion_vocab_size, embed_dim)
        hooks: Any = self  # untyped in torch
        hooks._register_state_dict_hook(_to_old_name)
        hooks.register_load_state_dict_pre_hook(_from_old_name)


class FusionEmbeddingWithModifier(FusionEmbeddingWithHook):
    """A `FusionEmbeddingWithHook` that also tells distributed state dicts what it has renamed (upstream's
    `FusionEmbeddingWithModifier`, torch 2.13)."""

    def _fqn_modifiers(self) -> dict[str, str]:
        """Names in the state dict -> what stands in front of them in the model; asked by torch's `get_state_dict`."""
        return {"weight": "embedding"}


def _to_old_name(module: nn.Module, state_dict: dict[str, Any], prefix: str, metadata: Any) -> None:
    state_dict[f"{prefix}weight"] = state_dict.pop(f"{prefix}embedding.weight")


def _from_old_name(module: nn.Module, state_dict: dict[str, Any], prefix: str, *unused: Any) -> None:
    if state_dict:
        state_dict[f"{prefix}embedding.weight"] = state_dict.pop(f"{prefix}weight")
