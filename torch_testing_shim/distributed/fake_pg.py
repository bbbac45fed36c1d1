"""Upstream's `distributed.fake_pg`: a process group of any size in one process, which sends nothing.

`torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=64)` makes this process one rank of
64. Collectives return at once and leave wrong values behind, so it serves where shapes and calls count, not data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch._C._distributed_c10d as c10d
import torch.distributed as dist

from torch_testing_shim._upstream.graft import grafted, served

#: The backend, if torch itself has registered it: FSDP of torch 2.6 does, by a module of torch's harness.
_REGISTERED = dist.Backend._plugins.get("FAKE")

_CREATE = {} if _REGISTERED is None else {"_create_fake_pg": lambda plugin=_REGISTERED: plugin.creator_fn}

__getattr__ = served(__name__, _CREATE)


if TYPE_CHECKING or not hasattr(c10d, "FakeStore"):  # torch 2.14 has its own

    class FakeStore(c10d.Store):
        """A store that keeps nothing, for the `fake` backend, which needs none (upstream's `FakeStore`)."""
else:
    FakeStore = c10d.FakeStore


if _REGISTERED is None:
    grafted(__name__, "_create_fake_pg")  # with which the installed torch's harness registers it
