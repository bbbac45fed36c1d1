"""Tests of sharded tensors: the base class, `with_comms`, and sharding specs over four ranks.

Where a test names a backend for another accelerator than the one in use ("nccl" is the default), the backend of the
device in use stands in for it, so that these tests run on the CPU too. In PyTorch's own files, run as they are, such a
test is skipped as PyTorch skips it, unless the device was chosen by hand.
"""

from __future__ import annotations

import functools
import importlib
import random
from collections.abc import Callable, Sequence
from typing import Any

import torch.distributed as dist
from torch.distributed._shard.metadata import ShardMetadata
from torch.distributed._shard.sharding_spec import ChunkShardingSpec
from torch.distributed._shard.sharding_spec.api import EnumerableShardingSpec

from torch_testing_shim._cases.hooks import has_own
from torch_testing_shim._cases.multi_process import MultiProcessTestCase
from torch_testing_shim._cases.world import DEFAULT_WORLD_SIZE, group_timeout, run_in_group
from torch_testing_shim._engine.devices import bind_rank, device_in_use, process_group_backend, rank_device
from torch_testing_shim._skips.by_ranks import missing_backend
from torch_testing_shim._skips.conditions import skip_where
from torch_testing_shim._upstream.graft import assigned
from torch_testing_shim._upstream.redirect import is_installed

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

TestFunction = Callable[..., Any]

_FACE = "torch_testing_shim.distributed._shard.sharded_tensor"

#: The orders of ranks in the specs that chunk a dimension, and where the quarters of 10 by 10 begin.
_ORDERS = ((0, 1, 2, 3), (2, 3, 0, 1), (3, 0, 1, 2))
_CORNERS = ((0, 0), (5, 0), (0, 5), (5, 5))


class ShardedTensorTestBase(MultiProcessTestCase):
    """A multi-process test case whose ranks `with_comms` connects by a process group and RPC (upstream's
    `ShardedTensorTestBase`, torch 2.13)."""

    __module__ = _FACE

    @property
    def world_size(self) -> int:
        """4, or what a test file assigns to TEST_GPU_NUM."""
        return int(assigned(_FACE, "TEST_GPU_NUM") or DEFAULT_WORLD_SIZE)

    def setUp(self) -> None:
        super().setUp()
        self._spawn_processes()

    def init_pg(self, backend: str = "nccl") -> None:
        """Set up the default process group, with the backend that stands for `backend` on the device in use."""
        bind_rank(self.rank)
        dist.init_process_group(
            _backend_here(backend),
            init_method=f"file://{self.file_name}",
            rank=self.rank,
            timeout=group_timeout(self.id()),
            world_size=self.world_size,
        )

    def init_rpc(self) -> None:
        """Connect the ranks by TensorPipe, as worker0, worker1 and so on."""
        from torch.distributed import rpc

        face = importlib.import_module("torch_testing_shim.common_distributed")
        options = rpc.TensorPipeRpcBackendOptions(
            init_method=f"file://{self.file_name}.rpc", _transports=face.tp_transports()
        )
        if not device_in_use().is_cpu:
            for peer in range(self.world_size):
                options.set_device_map(f"worker{peer}", {rank_device(self.rank): rank_device(peer)})
        connect: Any = rpc.init_rpc  # untyped in torch
        connect(f"worker{self.rank}", rank=self.rank, world_size=self.world_size, rpc_backend_options=options)

    def init_comms(self, init_rpc: bool = True, backend: str = "nccl") -> None:
        """Set up RPC, if wanted, and the process group."""
        if init_rpc:
            self.init_rpc()
        self.init_pg(backend)

    def destroy_comms(self, destroy_rpc: bool = True) -> None:
        """Wait for all ranks, then take down RPC, if wanted, and the process group."""
        dist.barrier()
        if destroy_rpc:
            from torch.distributed import rpc

            rpc.shutdown()
        dist.destroy_process_group()

    def assert_sharded_tensor_equal(self, st1: Any, st2: Any) -> None:
        """Fail unless two sharded tensors agree in metadata, sharding and the shards on this rank. Unlike upstream's,
        it takes tensors whose ranks RPC does not connect."""
        self.assertEqual(st1.metadata(), st2.metadata())
        self.assertEqual(st1.sharding_spec(), st2.sharding_spec())
        if st1._init_rrefs or st2._init_rrefs:
            self.assertEqual(len(st1.remote_shards()), len(st2.remote_shards()))
        own, others = st1.local_shards(), st2.local_shards()
        self.assertEqual([shard.metadata for shard in own], [shard.metadata for shard in others])
        self.assertEqual([shard.tensor for shard in own], [shard.tensor for shard in others])


def with_comms(
    func: TestFunction | None = None, init_rpc: bool = True, backend: str = "nccl"
) -> TestFunction | Callable[[TestFunction], TestFunction]:
    """Connect the ranks around a test (upstream's `with_comms` of sharded tensors, torch 2.13).

    Used bare or with arguments. Where there are accelerators but fewer than ranks, the test is skipped. After a test
    that raises, the process group is destroyed without waiting for the other ranks.

    Args:
        func: the test.
        init_rpc: connect them by RPC, too.
        backend: the process-group backend, as `ShardedTensorTestBase.init_pg` takes it.
    """
    if func is None:
        return functools.partial(with_comms, init_rpc=init_rpc, backend=backend)
    test = func

    @functools.wraps(test)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.init_comms(init_rpc=init_rpc, backend=backend)
        leave = functools.partial(self.destroy_comms, destroy_rpc=init_rpc)
        return run_in_group(functools.partial(test, self, *args, **kwargs), leave, lambda: device_in_use().is_cpu)

    return skip_where(functools.partial(_missing_devices, backend))(wrapper)


def _missing_devices(backend: str, case: Any) -> str | None:
    device, here = device_in_use(), _backend_here(backend)
    if is_installed() and not device.chosen and here != backend:
        return f"needs a device that {backend} serves, found {device.type}"
    is_own = has_own(case, "init_pg") or has_own(case, "init_comms")
    return None if is_own else missing_backend(here, case.world_size)


def _backend_here(backend: str) -> str:
    served = [device for device, name in dist.Backend.default_device_backend_map.items() if name == backend]
    here = device_in_use().type
    return backend if not served or here in served or "cpu" in served else process_group_backend(here)


def rank_placements(ranks: int = DEFAULT_WORLD_SIZE) -> list[str]:
    """Return the placement of each rank on its device: "rank:0/cuda:0", "rank:1/cuda:1" and so on; "rank:0/cpu" and so
    on for the CPU."""
    return [f"rank:{rank}/{rank_device(rank)}" for rank in range(ranks)]


def generate_chunk_sharding_specs_for_test(sharding_dim: int) -> list[ChunkShardingSpec]:
    """Make specs that chunk a dimension over four ranks, in three orders (upstream's name, torch 2.13)."""
    places = rank_placements()
    return [ChunkShardingSpec(dim=sharding_dim, placements=[places[rank] for rank in order]) for order in _ORDERS]


def generate_enumerable_sharding_specs_for_test() -> list[EnumerableShardingSpec]:
    """Make a spec that cuts 10 by 10 into quarters, one per rank (upstream's name, torch 2.13)."""
    quarters = [
        ShardMetadata(shard_offsets=list(corner), shard_sizes=[5, 5], placement=place)
        for corner, place in zip(_CORNERS, rank_placements(), strict=True)
    ]
    return [EnumerableShardingSpec(quarters)]


def chunk_sharding_specs(sharding_dims: Sequence[int], seed: int = 0) -> list[ChunkShardingSpec]:
    """Make a spec for each dimension, chunked over four ranks in its own order (upstream's
    `_chunk_sharding_specs_list_for_test`, torch 2.13).

    The orders follow from `seed` alone. (Upstream's also follow from the calls before.)
    """
    specs = []
    for offset, dim in enumerate(sharding_dims):
        order = rank_placements()
        random.Random(seed + offset).shuffle(order)
        specs.append(ChunkShardingSpec(dim=dim, placements=list(order)))
    return specs
