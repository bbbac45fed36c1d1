"""Changes the arguments of torch.distributed's calls in a run that maps one device type to another, by the rows of
`device_table`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import device_mesh, distributed_c10d
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.nn import functional as distributed_functional
from torch.nn.parallel import DistributedDataParallel

from torch_testing_shim._engine.gloo_limits import make_up_for_gloo
from torch_testing_shim._shared.device_map import DeviceMap

#: Returns the changed arguments of a call, given all of them by name.
_Change = Callable[[Mapping[str, Any]], dict[str, Any]]


def patch_distributed_calls(devices: DeviceMap) -> None:
    """Wrap the calls of the table."""
    of_source = dist.get_default_backend_for_device(devices.source)
    of_target = dist.get_default_backend_for_device(devices.target)

    def change_group(arguments: Mapping[str, Any]) -> dict[str, Any]:
        backend = mapped_backend(devices, of_source, of_target, arguments.get("backend"))
        return {"backend": backend, "device_id": None, "pg_options": None}

    def change_mesh(arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"device_type": devices.target} if arguments["device_type"] == devices.source else {}

    for name in ("init_process_group", "new_group"):
        _wrap([dist, distributed_c10d, device_mesh], name, change_group)
    _wrap([dist, distributed_c10d], "barrier", lambda _: {"device_ids": None})
    _wrap([device_mesh, dist], "init_device_mesh", change_mesh)
    _wrap([device_mesh.DeviceMesh], "__init__", change_mesh)
    _wrap([DistributedDataParallel], "__init__", _without_device)
    _wrap([FullyShardedDataParallel], "__init__", lambda _: {"device_id": torch.device(devices.target)})
    _answer_availability(of_source)
    if of_target == "gloo":
        _wrap([distributed_c10d, dist], "_coalescing_manager", lambda _: {"device": None})
        for owner in (dist, distributed_c10d):
            setattr(owner, "split_group", _split_group)  # noqa: B010 - mypy knows no such name there
        make_up_for_gloo()
        # Derivatives that torch has for some backends alone.
        distributed_functional.dist = _With(dist, get_backend=lambda *_, **__: of_source)  # type: ignore


def _without_device(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the one device of a rank; several are a mistake, which torch tells."""
    is_mistake = len(arguments.get("device_ids") or ()) > 1
    return {} if is_mistake else {"device_ids": None, "output_device": None}


class _With:
    """Stands for a module with other answers of some functions."""

    def __init__(self, module: object, **answers: object) -> None:
        self.__dict__.update(answers, _module=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _split_group(
    parent_pg: dist.ProcessGroup | None = None,
    split_ranks: list[list[int]] | None = None,
    timeout: timedelta | None = None,
    pg_options: object = None,
    group_desc: str | None = None,
    **_: object,
) -> dist.ProcessGroup | None:
    """Split a group and return this rank's part, as `torch.distributed.split_group`, which gloo lacks."""
    ranks = dist.get_process_group_ranks(parent_pg or dist.group.WORLD)
    for part in split_ranks or []:
        if dist.get_rank() in (members := [ranks[index] for index in part]):
            group: dist.ProcessGroup = dist.new_group(
                members, timeout=timeout, group_desc=group_desc, use_local_synchronization=True
            )
            return group
    return None


def mapped_backend(devices: DeviceMap, of_source: str, of_target: str, backend: Any) -> Any:
    """Return a process-group backend as `init_process_group` takes it, without the mapped device type.

    Args:
        devices: the map.
        of_source: the backend of the mapped device type, "nccl".
        of_target: the backend of the other, "gloo".
        backend: "nccl", "cpu:gloo,cuda:nccl", or None.
    """
    if not isinstance(backend, str):
        return backend
    if ":" not in backend:
        return of_target if backend.lower() == of_source else backend
    parts = dict(part.partition(":")[::2] for part in backend.split(","))
    if parts.pop(devices.source, None) is not None:
        parts.setdefault(devices.target, of_target)
    return ",".join(f"{device}:{name}" for device, name in parts.items())


def _wrap(owners: list[Any], name: str, change: _Change) -> None:
    """Replace a function in all owners that have it."""
    original = getattr(owners[0], name)
    signature = inspect.signature(original)

    @functools.wraps(original)
    def changed(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        changes = change(bound.arguments)
        bound.arguments.update({key: value for key, value in changes.items() if key in signature.parameters})
        return original(*bound.args, **bound.kwargs)

    for owner in owners:
        if getattr(owner, name, None) is original:
            setattr(owner, name, changed)


def _answer_availability(backend_of_source: str) -> None:
    is_available = dist.is_backend_available

    def answer(backend: str) -> bool:
        return backend.lower() == backend_of_source or is_available(backend)

    for owner in (dist, distributed_c10d):
        setattr(owner, "is_backend_available", answer)  # noqa: B010 - mypy knows no such name there
        if hasattr(owner, f"is_{backend_of_source}_available"):
            setattr(owner, f"is_{backend_of_source}_available", lambda: True)
    group_class = f"ProcessGroup{backend_of_source.upper()}"
    # Torch asks whether a group is one, also where its build has none, as when it compiles.
    made = type(group_class, (), {"__new__": _new_gloo_group, "Options": _Options, "NCCLConfig": SimpleNamespace})
    for owner in (dist, distributed_c10d, torch._C._distributed_c10d):
        setattr(owner, group_class, made)


class _Options(SimpleNamespace):
    """Options of the mapped type's backend, as a test sets them. Gloo knows none of them."""

    def __init__(self, *_: object, **given: object) -> None:
        defaults = {"config": SimpleNamespace(), "is_high_priority_stream": False}
        super().__init__(**{**defaults, "_timeout": distributed_c10d.default_pg_timeout, **given})


def _new_gloo_group(
    _: type, store: Any, rank: int, size: int, options: Any = None, timeout: timedelta | None = None
) -> Any:
    """Make a group as the mapped type's backend is made without `init_process_group`."""
    timeout = timeout or getattr(options, "_timeout", None)
    return dist.ProcessGroupGloo(store, rank, size, timeout or distributed_c10d.default_pg_timeout)
