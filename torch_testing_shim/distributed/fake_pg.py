"""Upstream's `distributed.fake_pg`: a process group of any size in one process, which sends nothing.

`torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=64)` makes this process one rank of
64. Collectives return at once and leave wrong values behind, so it serves where shapes and calls count, not data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch._C._distributed_c10d as c10d
from torch.distributed import Backend

from torch_testing_shim._upstream.graft import served

__all__ = ["FakeStore"]

__getattr__ = served(__name__)


#: From torch 2.14 on, torch has the store, and its harness says how the groups are made.
_IS_TORCHS = hasattr(c10d, "FakeStore")

if TYPE_CHECKING or not _IS_TORCHS:

    class FakeStore(c10d.Store):
        """A store that keeps nothing, for the `fake` backend, which asks nothing of it (upstream's `FakeStore`)."""
else:
    FakeStore = c10d.FakeStore


def _fake_group(options: Any, backend_options: Any) -> Any:
    if _IS_TORCHS:
        return __getattr__("_create_fake_pg")(options, backend_options)
    group_class: Any = c10d.FakeProcessGroup
    make = getattr(group_class, "_create_internal", group_class)  # before torch 2.9 the class itself was called
    return make(options.group_rank, options.group_size, backend_options)


if "FAKE" not in Backend._plugins:  # torch may have registered its own
    Backend.register_backend("fake", _fake_group, extended_api=True, devices=["cpu", "cuda", "hpu", "xpu"])
