"""Upstream's `distributed.fake_pg`: a process group of any size in one process, which sends nothing.

`torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=64)` makes this process one rank of
64. Collectives return at once and leave wrong values behind, so it serves where shapes and calls count, not data.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch._C._distributed_c10d as c10d
import torch.distributed as dist

from torch_testing_shim._upstream.graft import grafted, served

#: The backend, if torch itself has registered it: FSDP of torch 2.6 does, by a module of torch's harness.
_REGISTERED = dist.Backend._plugins.get("FAKE")

_ANSWERS: dict[str, Callable[[], Any]] = {}
if _REGISTERED is not None:
    _ANSWERS["_create_fake_pg"] = functools.partial(getattr, _REGISTERED, "creator_fn")
if hasattr(c10d, "FakeStore"):  # from torch 2.14 on; before, the harness's module has it
    _ANSWERS["FakeStore"] = functools.partial(getattr, c10d, "FakeStore")

__getattr__ = served(__name__, _ANSWERS)

if _REGISTERED is None:
    grafted(__name__, "_create_fake_pg")  # with which the installed torch's harness registers it
