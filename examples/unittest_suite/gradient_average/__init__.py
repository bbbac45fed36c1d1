"""Averages gradients over ranks, in few messages: small gradients travel together in buckets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist

__all__ = ["average_gradients", "buckets"]


def average_gradients(module: torch.nn.Module, bucket_size: int = 1 << 20) -> int:
    """Replace each gradient of `module` by its average over all ranks.

    Args:
        module: a module with the same parameters on each rank; those without a gradient are left alone.
        bucket_size: how many elements travel in one message, if there are so many.

    Returns:
        The number of messages.
    """
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    found = list(buckets(gradients, bucket_size))
    for bucket in found:
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for gradient, part in zip(bucket, flat.split([gradient.numel() for gradient in bucket]), strict=True):
            gradient.copy_(part.view_as(gradient))
    return len(found)


def buckets(tensors: Iterable[torch.Tensor], size: int) -> Iterator[list[torch.Tensor]]:
    """Group tensors, in their order, so that no group has more than `size` elements unless one tensor has."""
    group: list[torch.Tensor] = []
    for tensor in tensors:
        if group and sum(member.numel() for member in group) + tensor.numel() > size:
            yield group
            group = []
        group.append(tensor)
    if group:
        yield group
