"""Parts of torch.distributed's state that a reused rank puts back after each test: what it keeps of process groups,
meshes, DTensors, FSDP and sharded tensors in globals of its modules.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist

from torch_testing_shim._isolation.dict_versions import ChangeWatch
from torch_testing_shim._isolation.kept_parts import Part, attributes, module_global

__unittest = True  # unittest and pytest leave the frames of this module out of a report

_BELOW = "torch.distributed"
_DIST: Any = dist  # its stubs lack some names
#: Containers that are empty when their modules are imported: module -> globals.
_EMPTY_AT_IMPORT = {
    "_composable.replicate_with_fsdp": ["cls_to_replicate_cls"],
    "_composable_state": ["_module_state_mapping"],
    "_local_tensor": ["_PROCESS_LOCAL_TENSOR_MODE"],
    "_shard.sharded_tensor.api": ["_sharded_tensor_map"],
    "_symmetric_memory": ["_group_name_to_store", "_group_name_to_workspace_tensor"],
    "checkpoint.state_dict": ["_patched_state_dict"],
    "fsdp._common_utils": ["_MODULE_TO_INP_DTYPE"],
    "fsdp._fully_shard._fully_shard": ["cls_to_fsdp_cls"],
    "tensor._redistribute": ["_warned_flatten_issues"],
}
#: Values when their modules are imported: (module, global) -> value.
_VALUES_AT_IMPORT = {
    ("_local_tensor", "_PROCESS_MODE"): True,
    ("_shard.api", "_CURRENT_PROCESS_GROUP"): None,
    ("_shard.sharded_tensor.api", "_sharded_tensor_current_id"): 0,
    ("_symmetric_memory", "_is_test_mode"): False,
    ("_symmetric_memory", "_mocked_group_names"): None,
    ("checkpoint._async_process_executor", "_CHECKPOINT_PROCESS"): None,
    ("distributed_c10d", "_backend"): None,
    ("distributed_c10d", "_default_pg_init_method"): None,
    ("fsdp._fsdp_extensions", "_extensions"): None,
    ("fsdp._fully_shard._fully_shard", "_enable_fsdp_module_new_init"): True,
    ("tensor._random", "_rng_tracker"): None,
    ("tensor._redistribute", "_DISABLE_REDISTRIBUTE_TRANSFORM_OPTIMIZATION"): False,
    ("tensor._redistribute", "_FORCE_MIN_COST_REDISTRIBUTION_PLAN"): None,
}


def destroy_groups() -> None:
    """Destroy the process groups that a test has left. Forget collectives that were recorded, or gathered and not
    launched."""
    if not dist.is_available():
        return
    if dist.is_initialized():
        dist.destroy_process_group()
    world: Any = dist.distributed_c10d._world
    for books in (world.pg_coalesce_state, getattr(world, "comms", [])):
        books.clear()
    world.group_count = 0
    getattr(torch._C._distributed_c10d, "_reset_fr_trace", tuple)()  # torch 2.15; older recorders cannot be emptied


def distributed_parts() -> Iterator[Part]:
    """Yield the parts, in the order in which they are put back."""
    if not dist.is_available():
        return
    for module, names in _EMPTY_AT_IMPORT.items():
        for name in names:
            yield module_global(f"{_BELOW}.{module}", name)
    for (module, name), value in _VALUES_AT_IMPORT.items():
        yield module_global(f"{_BELOW}.{module}", name, value)
    yield module_global(f"{_BELOW}.rendezvous", "_rendezvous_handlers")
    resources = sys.modules[f"{_BELOW}.device_mesh"]._mesh_resources
    yield attributes("device meshes", resources, vars(resources))
    yield Part("registered backends", lambda: _content(vars(dist.Backend)), _restore_backends)
    yield Part("the debug level", _DIST.get_debug_level, _DIST.set_debug_level)
    if tensors := sys.modules.get(f"{_BELOW}.tensor._api"):
        dispatcher = tensors.DTensor._op_dispatcher
        yield _tables("how DTensor shards operators", dispatcher.sharding_propagator)
        yield _tables("what DTensor does for operators", dispatcher)
    yield Part("caches of DTensor", _has_dtensor_cached, lambda _: _clear_dtensor_caches())
    caching = _CachingFunctions()
    yield Part("caches", caching.filled, lambda kept: _clear_all_but(kept, caching.filled()), is_checked=False)
    yield Part("collectives that nobody has waited for", _pending_works, lambda _: None)


def _tables(name: str, owner: Any) -> Part:
    return attributes(name, owner, [each for each, value in vars(owner).items() if isinstance(value, dict)])


# Backends that tests register.


def _content(attributes: Any) -> dict[str, Any]:
    return {name: value.copy() if isinstance(value, dict | list) else value for name, value in attributes.items()}


def _restore_backends(kept: dict[str, Any]) -> None:
    now = dict(vars(dist.Backend))
    for name in now.keys() - kept.keys():
        delattr(dist.Backend, name)
    for name, value in kept.items():
        if isinstance(value, dict) and isinstance(now.get(name), dict):
            now[name].clear()
            now[name].update(value)
        elif isinstance(value, list) and isinstance(now.get(name), list):
            now[name][:] = value
        elif now.get(name) is not value:
            setattr(dist.Backend, name, value)


# Caches.


def _has_dtensor_cached() -> bool:
    """Return whether DTensor has cached how an operator is sharded, in Python or in C++."""
    tensors = sys.modules.get(f"{_BELOW}.tensor._api")
    if tensors is None:
        return False
    counts: tuple[int, ...] = getattr(torch._C, "_get_DTensor_sharding_propagator_cache_stats", tuple)()
    return bool(any(counts) or _propagation(tensors).cache.cache_info().currsize)


def _clear_dtensor_caches() -> None:
    _propagation(sys.modules[f"{_BELOW}.tensor._api"]).cache.cache_clear()
    getattr(torch._C, "_clear_DTensor_sharding_propagator_cache", tuple)()


def _propagation(tensors: Any) -> Any:
    return tensors.DTensor._op_dispatcher.sharding_propagator.propagate_op_sharding


class _CachingFunctions:
    """The functions of torch.distributed that cache, and warn once by that; a module is searched when it is new."""

    def __init__(self) -> None:
        self._of_modules: dict[str, list[Any]] = {}
        self._modules = ChangeWatch()

    def filled(self) -> list[Any]:
        """Return those that have cached something."""
        if self._modules.is_changed(sys.modules):
            self._search()
            self._modules.note(sys.modules)
        return [each for found in self._of_modules.values() for each in found if each.cache_info().currsize]

    def _search(self) -> None:
        for name in [name for name in sys.modules if name.startswith(_BELOW) and name not in self._of_modules]:
            values = list(vars(sys.modules[name]).values())
            # `isinstance` would ask torch's deprecated names for their class, and they would warn
            self._of_modules[name] = [value for value in values if type(value) is functools._lru_cache_wrapper]


def _clear_all_but(kept: list[Any], filled: list[Any]) -> None:
    for function in filled:
        if function not in kept:
            function.cache_clear()


def _pending_works() -> int:
    size = getattr(torch._C._distributed_c10d, "_get_work_registry_size", None)
    return 0 if size is None else size()
