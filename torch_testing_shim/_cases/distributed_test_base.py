"""`DistributedTestBase`: a multi-process test case that makes its process group by device."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore

from torch_testing_shim._cases.multi_process import MultiProcessTestCase
from torch_testing_shim._cases.world import group_timeout
from torch_testing_shim._engine.devices import bind_rank, process_group_backend, rank_device
from torch_testing_shim._shared.settings import changed_environment
from torch_testing_shim._skips.by_ranks import skip_without_backend

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class DistributedTestBase(MultiProcessTestCase):
    """A multi-process test case whose tests call `create_pg` (upstream's `DistributedTestBase`, torch 2.13). WORLD_SIZE
    is the number of ranks in the test process and in ranks. Devices are given as "cpu", "cuda" or "cuda:0"."""

    def setUp(self) -> None:
        super().setUp()
        environment = changed_environment({"WORLD_SIZE": str(self.world_size)})
        environment.__enter__()
        self.addCleanup(environment.__exit__, None, None, None)
        self._spawn_processes()

    def backend(self, device: str) -> str:
        """Return the process-group backend of a device.

        Raises:
            DeviceError: none is registered.
        """
        return process_group_backend(torch.device(device).type)

    def create_pg(self, device: str, world_size: int | None = None) -> dist.ProcessGroup:
        """Set up the default process group of this rank for a device, and bind the rank to its accelerator where it has
        one.

        Args:
            device: the device.
            world_size: number of ranks in it; by default all.

        Raises:
            DeviceError: the device has no backend.
            unittest.SkipTest: its backend is not available here.
        """
        size = self.world_size if world_size is None else world_size
        skip_without_backend(self.backend(device), size)
        dist.init_process_group(
            backend=self.backend(device),
            world_size=size,
            rank=self.rank,
            store=FileStore(self.file_name, size),
            timeout=group_timeout(self.id()),
        )
        own = bind_rank(self.rank, device)
        if own.index is not None:
            torch.set_default_device(own)
        return dist.distributed_c10d._get_default_group()

    def rank_to_device(self, device: str) -> dict[int, list[int]]:
        """Return the devices of each rank, by index: ranks take turns where there are fewer devices."""
        return {rank: [rank_device(rank, device).index or 0] for rank in range(self.world_size)}
