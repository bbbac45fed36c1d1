"""Process groups on the device, "quartzlink": gloo's, on the host's memory that the device's tensors lie in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.utils import _pytree as pytree

from torch_quartz.device import NAME
from torch_quartz.tensors import host_view, is_quartz

BACKEND = "quartzlink"

#: Methods of a group that torch calls: by torch.distributed's functions, by its functional collectives, or by both.
_COLLECTIVES = """
    allgather _allgather_base all_gather_single allgather_coalesced allgather_into_tensor_coalesced
    allreduce allreduce_coalesced alltoall alltoall_base all_to_all_single broadcast gather recv recv_anysource reduce
    reduce_scatter _reduce_scatter_base reduce_scatter_single reduce_scatter_tensor_coalesced scatter send
"""


class QuartzLink(dist.ProcessGroup):
    """A process group on the device. Its collectives are those of a group of the CPU, on the same memory."""

    def __init__(self, store: Any, rank: int, size: int, timeout: timedelta) -> None:
        super().__init__(rank, size)
        kinds = dist.ProcessGroup.BackendType
        self._gloo = gloo = dist.ProcessGroupGloo(store, rank, size, timeout)
        self.host = dist.ProcessGroup(store, rank, size)  # the group of the CPU
        self.host._register_backend(torch.device("cpu"), kinds.GLOO, gloo)
        self._register_backend(torch.device("cpu"), kinds.GLOO, gloo)  # "cpu:gloo,quartz:quartzlink" makes this one
        self._register_backend(torch.device(NAME), kinds.CUSTOM, gloo)  # where torch keeps a group's name
        self._set_default_backend(kinds.CUSTOM)  # torch 2.15 asks it for the name

    def getBackendName(self) -> str:
        return BACKEND

    def barrier(self, opts: Any = None) -> Any:
        """Wait for all ranks; `opts` names a device, which gloo has no use for."""
        return self._gloo.barrier()

    def __repr__(self) -> str:
        return f"QuartzLink(rank={self.rank()}, size={self.size()})"


def _on_host(name: str) -> Any:
    """A collective has ended when it returns, as every operator of the device: torch would wait for it where its result
    is used, and knows the result by its storage, which a view on this device does not have. A rank that sends or
    receives may have to do something else first."""

    def method(self: QuartzLink, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = pytree.tree_map(_host_of, (args, kwargs))
        work = getattr(self.host, name)(*args, **kwargs)
        if not name.startswith(("send", "recv")):
            work.wait()
        return work

    return method


def _host_of(value: Any) -> Any:
    return host_view(value) if isinstance(value, torch.Tensor) and is_quartz(value) else value


for _name in _COLLECTIVES.split():
    if hasattr(dist.ProcessGroup, _name):  # not every torch has them all
        setattr(QuartzLink, _name, _on_host(_name))


def register() -> None:
    dist.Backend.register_backend(BACKEND, QuartzLink, devices=[NAME])
