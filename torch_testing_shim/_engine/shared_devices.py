"""Prepares torch.distributed in ranks that share devices, since their test has more ranks than there are devices.

An accelerator's own backend serves one rank on a device (NCCL refuses two), so device tensors go over gloo: whatever
backend a group is made with, its device's part becomes gloo's. Operators that gloo does not serve on the device go
through the host's memory: `send` and `recv`, collectives of several tensors, and all of them where gloo does not know
the device. Given such tensors, gloo reads the device's address as the host's, which ends the process.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

from torch_testing_shim._engine.collective_works import call_on_copies, replace_kernels
from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._engine.gloo_limits import make_up_for_gloo

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_GLOO = "gloo"
#: The operators of `c10d` that gloo serves on tensors of a device, as seen with CUDA and torch 2.11. Some of the others
#: read a device's address as the host's: `send`, and the one that a functional `all_gather` calls.
_ON_DEVICES = (
    "_allgather_base_",
    "_reduce_scatter_base_",
    "allgather_",
    "allreduce_",
    "alltoall_base_",
    "barrier",
    "broadcast_",
    "gather_",
    "reduce_",
    "scatter_",
)
#: Operators that take no tensors, or the host's.
_NOT_OF_DEVICES = ("check_for_nan", "monitored_barrier_")


def share_devices(ranks: int) -> None:
    """Make this process, a rank of a test with `ranks` ranks, share the device in use where there are fewer
    devices."""
    device = device_in_use()
    if not device.is_shared_by(ranks):
        return
    make_up_for_gloo()
    served = dist.Backend.backend_capability[_GLOO]
    _send_through_host(device.type, is_served=device.type in served)
    dist.Backend.default_device_backend_map[device.type] = _GLOO
    dist.Backend.backend_capability[_GLOO] = [*dict.fromkeys((*served, device.type))]
    make_group: Any = distributed_c10d._new_process_group_helper  # where all ways to make a group meet
    signature = inspect.signature(make_group)

    @functools.wraps(make_group)
    def make_shared_group(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.arguments["backend"] = dist.Backend(gloo_backend(device.type, str(bound.arguments["backend"])))
        return make_group(*bound.args, **bound.kwargs)

    distributed_c10d._new_process_group_helper = make_shared_group


def gloo_backend(device_type: str, backend: str) -> str:
    """Return a process-group backend with gloo in place of the one for a device type.

    Args:
        device_type: "cuda".
        backend: as `init_process_group` takes it: "nccl", "cpu:gloo,cuda:nccl", "undefined" for torch's choice. A
            backend that serves the CPU, too, stays as it is.
    """
    if ":" not in backend:
        return backend if "cpu" in dist.Backend.backend_capability.get(backend, ()) else _GLOO
    parts = dict(part.split(":", 1) for part in backend.split(","))
    parts = {"cpu": _GLOO} | parts | ({device_type: _GLOO} if device_type in parts else {})
    return ",".join(f"{device}:{name}" for device, name in parts.items())


def _send_through_host(device_type: str, *, is_served: bool) -> None:
    """Register kernels for tensors of the device, for each operator that gloo does not serve on it."""
    known = (name for name in torch._C._dispatch_get_all_op_names() if name.startswith("c10d::"))
    left_alone = {*_NOT_OF_DEVICES, *(_ON_DEVICES if is_served else ())}
    names = {name.removeprefix("c10d::") for name in known} - left_alone
    kernels = {name: _kernel(getattr(torch.ops.c10d, name).default, device_type) for name in names}
    replace_kernels(kernels, torch._C._dispatch_key_for_device(device_type))


def _kernel(operator: Callable[..., Any], device_type: str) -> Callable[..., Any]:
    """Make a kernel that runs an operator on copies in the host's memory, and copy them back when it is done."""

    def to_host(tensor: torch.Tensor) -> torch.Tensor | None:
        return tensor.detach().to("cpu") if tensor.device.type == device_type else None

    return lambda *args, **kwargs: call_on_copies(operator, to_host, args, kwargs)
