"""Upstream's `distributed.fake_pg`: a process group of any size in one process, which sends nothing.

`torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=64)` makes this process one rank of
64. Collectives return at once and leave wrong values behind, so it serves where shapes and calls count, not data.
"""

from __future__ import annotations

from typing import Any

import torch.distributed as dist

__all__ = ["FakeStore"]


class FakeStore(dist.Store):
    """A store that keeps nothing, for the `fake` backend, which asks nothing of it (upstream's `FakeStore`, torch
    2.13)."""


def _fake_group(options: Any, backend_options: Any) -> Any:
    from torch._C._distributed_c10d import FakeProcessGroup

    make = getattr(FakeProcessGroup, "_create_internal", FakeProcessGroup)  # torch before 2.9 calls the class itself
    return make(options.group_rank, options.group_size, backend_options)


if dist.Backend.FAKE.upper() not in dist.Backend._plugins:  # torch may have registered its own
    dist.Backend.register_backend("fake", _fake_group, extended_api=True, devices=["cpu", "cuda", "hpu", "xpu"])
