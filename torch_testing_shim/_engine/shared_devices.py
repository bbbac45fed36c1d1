"""Ranks that share devices: what torch.distributed is told in a rank whose test has more ranks than devices.

An accelerator's own backend serves one rank on a device (NCCL refuses two), so device tensors go over gloo: whatever
backend a group is asked for, its device's part becomes gloo's. What gloo does not do with tensors of the device goes
through the host's memory: `send` and `recv`, collectives of several tensors, and everything where gloo does not serve
the device at all. Given such tensors, gloo reads the device's address as the host's, which ends the process.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

from torch_testing_shim._engine.collective_works import call_on_copies, not_compiled
from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._engine.gloo_limits import make_up_for_gloo

__all__ = ["gloo_backend", "share_devices"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

GLOO = "gloo"
#: The operators of torch.distributed that gloo has been seen to do on tensors of a device, with CUDA and torch 2.11. Of
#: the others some read a device's address as the host's: `send`, and what a functional `all_gather` calls.
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
#: Those that take tensors of no device, or of the host.
_NOT_OF_DEVICES = ("check_for_nan", "monitored_barrier_")
#: The registrations last as long as these live.
_LIBRARIES: list[Any] = []


def share_devices(ranks: int) -> None:
    """Has this process, a rank of a test with so many ranks, share the device in use where there are fewer."""
    device = device_in_use()
    if not device.is_shared_by(ranks):
        return
    make_up_for_gloo()
    served = dist.Backend.backend_capability[GLOO]
    _send_through_host(device.type, is_served=device.type in served)
    dist.Backend.default_device_backend_map[device.type] = GLOO
    dist.Backend.backend_capability[GLOO] = [*dict.fromkeys((*served, device.type))]
    make_group: Any = distributed_c10d._new_process_group_helper  # where all ways to make a group meet
    signature = inspect.signature(make_group)

    @functools.wraps(make_group)
    def make_shared_group(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.arguments["backend"] = dist.Backend(gloo_backend(device.type, str(bound.arguments["backend"])))
        return make_group(*bound.args, **bound.kwargs)

    distributed_c10d._new_process_group_helper = make_shared_group


def gloo_backend(device_type: str, backend: str) -> str:
    """A process-group backend with gloo for a device type.

    Args:
        device_type: "cuda".
        backend: as `init_process_group` takes it: "nccl", "cpu:gloo,cuda:nccl", "undefined" for torch's choice. One
            that serves the CPU, too, stays as it is.
    """
    if ":" not in backend:
        return backend if "cpu" in dist.Backend.backend_capability.get(backend, ()) else GLOO
    parts = dict(part.split(":", 1) for part in backend.split(","))
    parts = {"cpu": GLOO} | parts | ({device_type: GLOO} if device_type in parts else {})
    return ",".join(f"{device}:{name}" for device, name in parts.items())


def _send_through_host(device_type: str, *, is_served: bool) -> None:
    """Gives torch kernels for tensors of the device: of everything that gloo does not do on it."""
    known = (name for name in torch._C._dispatch_get_all_op_names() if name.startswith("c10d::"))
    left_alone = {*_NOT_OF_DEVICES, *(_ON_DEVICES if is_served else ())}
    names = {name.removeprefix("c10d::") for name in known} - left_alone
    make_library: Any = torch.library.Library  # untyped in torch
    library = make_library("c10d", "IMPL")
    _LIBRARIES.append(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own kernels are replaced, of which it warns
        for name in names:
            kernel = _kernel(getattr(torch.ops.c10d, name).default, device_type)
            library.impl(name, kernel, torch._C._dispatch_key_for_device(device_type))


def _kernel(operator: Callable[..., Any], device_type: str) -> Callable[..., Any]:
    """The operator on copies of the tensors in the host's memory, which go back when it is done."""

    def to_host(tensor: torch.Tensor) -> torch.Tensor | None:
        return tensor.detach().to("cpu") if tensor.device.type == device_type else None

    return not_compiled(lambda *args, **kwargs: call_on_copies(operator, to_host, args, kwargs))
