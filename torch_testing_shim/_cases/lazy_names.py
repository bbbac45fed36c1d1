"""Names of `common_distributed` that are looked up when a test asks for them: where each is, or how it is answered.

So that what a test does not use costs it nothing, and no device is asked for by an import.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from torch_testing_shim._cases.limits import get_timeout
from torch_testing_shim._engine.devices import accelerator_in_use, process_group_backend

__all__ = ["ANSWERS", "HOMES", "LAZY_NAMES", "look_up"]

_NAMES_BY_MODULE = {
    "_cases.communication": ("cleanup_temp_dir", "init_multigpu_helper", "initialize_temp_directories"),
    "_cases.debug_settings": (
        "core_dumps_disabled",
        "verify_ddp_error_logged",
        "with_dist_debug_levels",
        "with_nccl_blocking_wait",
    ),
    "_cases.distributed_test_base": ("DistributedTestBase",),
    "_cases.dynamo": (
        "DynamoDistributedMultiProcTestCase",
        "DynamoDistributedSingleProcTestCase",
        "_dynamo_dist_per_rank_init",
    ),
    "_skips.by_platform": (
        "evaluate_platform_supports_symm_mem",
        "import_transformers_or_skip",
        "requires_multicast_support",
        "requires_nccl_shrink",
        "requires_nccl_version",
        "skip_if_rocm",
        "skip_if_rocm_arch_multiprocess",
        "skip_if_rocm_multiprocess",
        "skip_if_rocm_ver_lessthan_multiprocess",
        "sm_is_or_higher_than",
    ),
    "_cases.limits": ("TIMEOUT_OVERRIDE",),
    "_skips.by_world": (
        "get_required_world_size",
        "nccl_skip_if_lt_x_gpu",
        "require_n_gpus_for_nccl_backend",
        "requires_ddp_rank",
        "requires_world_size",
        "skip_if_no_gpu",
        "skip_if_odd_worldsize",
        "skip_if_small_worldsize",
    ),
    "common_utils": (
        "FILE_SCHEMA",
        "find_free_port",
        "retry_on_connect_failures",
        "skip_but_pass_in_sandcastle",
        "skip_but_pass_in_sandcastle_if",
    ),
}
#: Name -> the module of this package that has it.
HOMES: Mapping[str, str] = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}


def _accelerators() -> list[str]:
    """The type of the accelerator in use, if there is one."""
    device_type = accelerator_in_use()
    return [] if device_type is None else [device_type]


#: Name -> what answers it, for the device and the settings in use.
ANSWERS: Mapping[str, Callable[[], Any]] = {
    "ACCELERATOR_DIST_BACKENDS": lambda: [process_group_backend(device) for device in _accelerators()],
    "DDP_RANK_DEVICES": _accelerators,
    "HAS_ACCELERATOR": lambda: bool(_accelerators()),
    "PLATFORM_SUPPORTS_SYMM_MEM": lambda: look_up("evaluate_platform_supports_symm_mem")(),
    "TIMEOUT_DEFAULT": lambda: get_timeout(""),
}


def look_up(name: str) -> Any:
    """The value of a name that has a home here."""
    return getattr(importlib.import_module(f"torch_testing_shim.{HOMES[name]}"), name)


#: Name -> what answers it, of all.
LAZY_NAMES: Mapping[str, Callable[[], Any]] = {
    **{name: functools.partial(look_up, name) for name in HOMES},
    **ANSWERS,
}
