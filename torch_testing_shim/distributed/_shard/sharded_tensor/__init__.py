"""Upstream's `distributed._shard.sharded_tensor`: the base class of tests of sharded tensors, with RPC where wanted.

A backend that serves another accelerator than the one in use ("nccl", the default) is answered by the backend of the
device in use, so that these tests run on the CPU too. In PyTorch's own files, which are run as they are, such a test is
skipped as PyTorch skips it, unless the device was chosen by hand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from torch_testing_shim._cases.world import DEFAULT_WORLD_SIZE, group_timeout, keep_connections, run_in_group
from torch_testing_shim._engine.devices import bind_rank, device_in_use, process_group_backend, rank_device
from torch_testing_shim._skips.by_ranks import missing_backend
from torch_testing_shim._skips.conditions import skip_where
from torch_testing_shim._upstream.graft import served
from torch_testing_shim._upstream.redirect import is_installed
from torch_testing_shim.common_distributed import MultiProcessTestCase

__all__ = ["TEST_GPU_NUM", "ShardedTensorTestBase", "with_comms"]

__getattr__ = served(__name__)
__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

TEST_GPU_NUM = DEFAULT_WORLD_SIZE

TestFunction = Callable[..., Any]


class ShardedTensorTestBase(MultiProcessTestCase):
    """A multi-process test case whose ranks `with_comms` connects by a process group and RPC (upstream's
    `ShardedTensorTestBase`, torch 2.13)."""

    @property
    def world_size(self) -> int:
        return TEST_GPU_NUM

    def setUp(self) -> None:
        super().setUp()
        self._spawn_processes()

    def init_pg(self, backend: str = "nccl") -> None:
        """Sets up the default process group, with the backend that stands for `backend` on the device in use."""
        bind_rank(self.rank)
        dist.init_process_group(
            _backend_here(backend),
            init_method=f"file://{self.file_name}",
            rank=self.rank,
            timeout=group_timeout(self.id()),
            world_size=self.world_size,
        )

    def init_rpc(self) -> None:
        """Connects the ranks by TensorPipe, as worker0, worker1 and so on."""
        from torch.distributed import rpc

        from torch_testing_shim.common_distributed import tp_transports

        options = rpc.TensorPipeRpcBackendOptions(
            init_method=f"file://{self.file_name}.rpc", _transports=tp_transports()
        )
        if not device_in_use().is_cpu:
            for peer in range(self.world_size):
                options.set_device_map(f"worker{peer}", {rank_device(self.rank): rank_device(peer)})
        connect: Any = rpc.init_rpc  # untyped in torch
        connect(f"worker{self.rank}", rank=self.rank, world_size=self.world_size, rpc_backend_options=options)

    def init_comms(self, init_rpc: bool = True, backend: str = "nccl") -> None:
        """Sets up RPC, if wanted, and the process group."""
        if init_rpc:
            self.init_rpc()
        self.init_pg(backend)

    def destroy_comms(self, destroy_rpc: bool = True) -> None:
        """Waits for all ranks, then takes down RPC, if wanted, and the process group."""
        dist.barrier()
        if destroy_rpc:
            from torch.distributed import rpc

            rpc.shutdown()
        dist.destroy_process_group()

    def assert_sharded_tensor_equal(self, st1: Any, st2: Any) -> None:
        """Fails unless two sharded tensors agree in metadata, sharding and the shards that lie on this rank."""
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
    """Connects the ranks around a test (upstream's `with_comms` of sharded tensors, torch 2.13).

    Used bare or with arguments. Where there are accelerators but fewer than ranks, the test is skipped. After a test
    that raises, the process group is destroyed without waiting for the other ranks.

    Args:
        func: the test.
        init_rpc: by RPC too.
        backend: the process-group backend, as `ShardedTensorTestBase.init_pg` takes it.
    """
    if func is None:
        return functools.partial(with_comms, init_rpc=init_rpc, backend=backend)
    test = func

    @functools.wraps(test)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.init_comms(init_rpc=init_rpc, backend=backend)
        result = run_in_group(functools.partial(test, self, *args, **kwargs))
        if device_in_use().is_cpu:  # an accelerator's group may have more to do at its end
            keep_connections()
        self.destroy_comms(destroy_rpc=init_rpc)
        return result

    return skip_where(functools.partial(_missing_devices, backend))(wrapper)


def _missing_devices(backend: str, case: Any) -> str | None:
    device, here = device_in_use(), _backend_here(backend)
    if is_installed() and not device.chosen and here != backend:
        return f"needs a device that {backend} serves, found {device.type}"
    return missing_backend(here, case.world_size)


def _backend_here(backend: str) -> str:
    served = [device for device, name in dist.Backend.default_device_backend_map.items() if name == backend]
    here = device_in_use().type
    return backend if not served or here in served or "cpu" in served else process_group_backend(here)
