"""The process group of a test's ranks, by the fixture `process_group`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore

from torch_testing_shim._cases.world import SHARE_OF_TIMEOUT, leave_group_at_end
from torch_testing_shim._engine.channel import THIS_RANK
from torch_testing_shim._engine.devices import process_group_backend
from torch_testing_shim._pytest_ranks.in_rank import HERE, World


@contextmanager
def rank_group(world: World, device: torch.device) -> Iterator[dist.ProcessGroup]:
    """Set up the default group, and destroy it after the test: where the test has failed at once, so that the other
    ranks notice, else when the others are done too. After a skip it stays until the process ends: all ranks are
    expected to skip, and another may still be connecting."""
    backend = world.backend or process_group_backend(device.type)
    if ":" not in backend and not dist.is_backend_available(backend):
        pytest.skip(f"the process-group backend {backend!r} is not available")
    dist.init_process_group(
        backend=backend,
        rank=world.rank,
        world_size=world.world_size,
        store=FileStore(world.rendezvous, world.world_size),
        timeout=timedelta(seconds=SHARE_OF_TIMEOUT * world.seconds),
    )
    yield dist.distributed_c10d._get_default_group()
    reports = HERE.reports
    if reports is not None and reports.has_skipped:
        return
    if reports is None or reports.has_failed:
        if dist.is_initialized():
            dist.destroy_process_group()
        return
    if THIS_RANK.channel is not None:
        THIS_RANK.channel.await_others()
    leave_group_at_end()
