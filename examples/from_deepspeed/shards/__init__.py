"""Parameters of which each rank keeps a part."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F

__all__ = ["gather", "shard"]


def shard(whole: torch.Tensor) -> torch.Tensor:
    """Return this rank's part of a flat tensor, padded with zeros to the same length on all ranks."""
    count = dist.get_world_size()
    length = -(-len(whole) // count)
    padded = F.pad(whole, (0, length * count - len(whole)))
    return padded[dist.get_rank() * length :][:length].clone()


def gather(part: torch.Tensor, length: int) -> torch.Tensor:
    """Return the flat tensor of `length` elements that all ranks' parts are of."""
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, part)
    return torch.cat(parts)[:length]
