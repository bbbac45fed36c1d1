"""Test cases of compiled code on ranks, which start and end with an empty compiler cache. Imports `torch._dynamo`."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
import torch._dynamo
import torch._dynamo.utils
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore, HashStore

from torch_testing_shim._cases.base import TestCase
from torch_testing_shim._cases.distributed_test_base import DistributedTestBase
from torch_testing_shim._cases.world import default_ranks, group_timeout
from torch_testing_shim._engine.devices import bind_rank, device_in_use, process_group_backend, rank_device
from torch_testing_shim._engine.rank_steps import ends_forked_children
from torch_testing_shim._skips.by_ranks import skip_without_backend

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Each group of a process meets in a file of its own.
_GROUP_NUMBERS = itertools.count()


def _forget_compiled() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


@contextlib.contextmanager
def _dynamo_dist_per_rank_init(
    rank: int, world_size: int, backend: str | None = None, init_pg: bool = True, fake_pg: bool = False
) -> Iterator[None]:
    """Context: a process group, with nothing compiled before the body or left after it (upstream's name, torch 2.13).

    Ranks meet in a file of TMPDIR, which is the test's own folder in a rank; no port is taken.

    Args:
        rank: this rank; it is bound to its accelerator, where there is one.
        world_size: number of ranks.
        backend: of the process group; by default the backend of the device in use.
        init_pg: set a process group up, and take it down.
        fake_pg: use the fake process group, which sends nothing and needs no other ranks.

    Raises:
        unittest.SkipTest: the backend is not available here.
    """
    backend = backend or process_group_backend(device_in_use().type)
    if not fake_pg:
        skip_without_backend(backend, world_size)
        bind_rank(rank)
    if init_pg:
        store: Any = HashStore() if world_size == 1 else None
        if fake_pg:
            face = importlib.import_module("torch_testing_shim.distributed.fake_pg")  # it registers the backend

            backend, store = "fake", face.FakeStore()
        elif store is None:
            path = os.path.join(tempfile.gettempdir(), f"dynamo_rendezvous{next(_GROUP_NUMBERS)}")
            store = FileStore(path, world_size)
        dist.init_process_group(
            backend=backend,
            rank=rank,
            world_size=world_size,
            store=store,
            timeout=group_timeout(""),
        )
    _forget_compiled()
    try:
        with ends_forked_children():
            yield
    finally:
        _forget_compiled()
        if init_pg:
            dist.destroy_process_group()


class DynamoDistributedSingleProcTestCase(TestCase):
    """A test case of compiled code in a process group of one rank, this process (upstream's name, torch 2.13).

    Attributes:
        rank: 0.
        device: the first device, "cpu:0" or "cuda:0".
        device_ids: None, so that DDP finds its devices by its module.
    """

    rank: ClassVar[int] = 0
    device: ClassVar[str]
    device_ids: ClassVar[list[int] | None] = None
    _exit_stack: ClassVar[contextlib.ExitStack]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls._exit_stack = contextlib.ExitStack()
        device_type = device_in_use().type
        cls.device = f"{device_type}:{rank_device(cls.rank).index or 0}"
        dist.init_process_group(process_group_backend(device_type), rank=cls.rank, world_size=1, store=HashStore())
        cls._exit_stack.callback(dist.destroy_process_group)

    @classmethod
    def tearDownClass(cls) -> None:
        cls._exit_stack.close()
        super().tearDownClass()

    def setUp(self) -> None:
        super().setUp()
        _forget_compiled()
        self.addCleanup(_forget_compiled)


class DynamoDistributedMultiProcTestCase(DistributedTestBase):
    """A test case of compiled code on several ranks, whose tests set up their process group by
    `_dynamo_dist_per_rank_init` (upstream's name, torch 2.13)."""

    @property
    def world_size(self) -> int:
        """One rank for each accelerator; 4 on the CPU."""
        return default_ranks()
