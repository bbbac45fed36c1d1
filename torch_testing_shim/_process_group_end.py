"""How a rank that is about to end leaves its process groups.

When nothing holds a gloo group any more, it takes its connections down one by one, 10 ms each (torch 2.13): with 64
ranks that is longer than all the rest of a small test. The kernel closes those of a process that ends at once.
"""

from __future__ import annotations

import torch.distributed as dist

__all__ = ["keep_connections"]

#: What is kept: the groups, by which their connections stay.
_KEPT: list[dist.ProcessGroup] = []


def keep_connections() -> None:
    """Has the connections of this rank's process groups last as long as its process, though the groups be destroyed."""
    _KEPT.extend(dist.distributed_c10d._world.pg_map)
