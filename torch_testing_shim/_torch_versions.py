"""What differs between versions of torch, asked of torch itself."""

from __future__ import annotations

import torch.distributed as dist

__all__ = ["ALL_GATHER", "REDUCE_SCATTER"]

#: Names in `torch.distributed` of the collectives on one tensor that FSDP calls; renamed in torch 2.13.
ALL_GATHER = "all_gather_single" if hasattr(dist, "all_gather_single") else "all_gather_into_tensor"
REDUCE_SCATTER = "reduce_scatter_single" if hasattr(dist, "reduce_scatter_single") else "reduce_scatter_tensor"
