"""A contrastive loss whose negatives come from all ranks."""

import torch
import torch.distributed as dist
import torch.nn.functional as F


def gathered(embeddings: torch.Tensor) -> torch.Tensor:
    """Gather the embeddings of all ranks, in the order of ranks; all ranks have equally many."""
    parts = [torch.empty_like(embeddings) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, embeddings)
    return torch.cat(parts)


def contrastive_loss(images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """Return the loss of this rank's images against the texts of all ranks.

    Args:
        images: embeddings of this rank's images, one a row.
        texts: embeddings of their texts, in the same order.
    """
    rank = dist.get_rank()
    scores = images @ gathered(texts).T
    own = torch.arange(len(images)) + rank * len(images)
    return F.cross_entropy(scores, own)
