"""Upstream's `common_distributed`: base classes of tests that run on several ranks, and their decorators.

Names that depend on the device in use or on a setting are answered when a test asks for them, and so are test cases of
compiled code, since importing the compiler takes half a second.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

from torch_testing_shim._cases.body import run_subtests as run_subtests
from torch_testing_shim._cases.continuous import MultiProcContinuousTest as MultiProcContinuousTest
from torch_testing_shim._cases.distributed_test_base import DistributedTestBase as DistributedTestBase
from torch_testing_shim._cases.multi_process import MultiProcessTestCase as MultiProcessTestCase
from torch_testing_shim._cases.surroundings import (
    accelerators,
    cleanup_temp_dir as cleanup_temp_dir,
    core_dumps_disabled as core_dumps_disabled,
    init_multigpu_helper as init_multigpu_helper,
    initialize_temp_directories as initialize_temp_directories,
    with_dist_debug_levels as with_dist_debug_levels,
    with_nccl_blocking_wait as with_nccl_blocking_wait,
)
from torch_testing_shim._cases.threads.multi_threaded import (
    MultiThreadedTestCase as MultiThreadedTestCase,
    spawn_threads_and_init_comms as spawn_threads_and_init_comms,
)
from torch_testing_shim._cases.world import (
    DEFAULT_WORLD_SIZE as DEFAULT_WORLD_SIZE,
    TIMEOUT_OVERRIDE as TIMEOUT_OVERRIDE,
    get_timeout as get_timeout,
)
from torch_testing_shim._engine.controller import RankError as RankError, RankFailure as RankFailure
from torch_testing_shim._engine.devices import process_group_backend
from torch_testing_shim._engine.rank_outcomes import TEST_SKIPS as TEST_SKIPS, TestSkip as TestSkip
from torch_testing_shim._engine.rank_process import RankProcess as RankProcess
from torch_testing_shim._skips.by_machine import (
    import_transformers_or_skip as import_transformers_or_skip,
    requires_multicast_support as requires_multicast_support,
    requires_nccl_shrink as requires_nccl_shrink,
    requires_nccl_version as requires_nccl_version,
    skip_if_rocm as skip_if_rocm,
    skip_if_rocm_arch_multiprocess as skip_if_rocm_arch_multiprocess,
    skip_if_rocm_multiprocess as skip_if_rocm_multiprocess,
    skip_if_rocm_ver_lessthan_multiprocess as skip_if_rocm_ver_lessthan_multiprocess,
    skip_if_win32 as skip_if_win32,
)
from torch_testing_shim._skips.by_ranks import (
    at_least_x_gpu as at_least_x_gpu,
    get_required_world_size as get_required_world_size,
    nccl_skip_if_lt_x_gpu as nccl_skip_if_lt_x_gpu,
    require_n_gpus_for_nccl_backend as require_n_gpus_for_nccl_backend,
    requires_accelerator_dist_backend as requires_accelerator_dist_backend,
    requires_ddp_rank as requires_ddp_rank,
    requires_gloo as requires_gloo,
    requires_mpi as requires_mpi,
    requires_nccl as requires_nccl,
    requires_ucc as requires_ucc,
    requires_world_size as requires_world_size,
    skip_if_lt_x_gpu as skip_if_lt_x_gpu,
    skip_if_no_gpu as skip_if_no_gpu,
    skip_if_odd_worldsize as skip_if_odd_worldsize,
    skip_if_small_worldsize as skip_if_small_worldsize,
)
from torch_testing_shim._skips.capabilities import (
    evaluate_platform_supports_symm_mem as evaluate_platform_supports_symm_mem,
    sm_is_or_higher_than as sm_is_or_higher_than,
)
from torch_testing_shim._upstream.graft import served

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

MultiProcContinousTest = MultiProcContinuousTest  # the spelling of torch 2.4 to 2.6

_OF_COMPILED_CODE = (
    "DynamoDistributedMultiProcTestCase",
    "DynamoDistributedSingleProcTestCase",
    "_dynamo_dist_per_rank_init",
)


def _of_compiled_code(name: str) -> Any:
    return getattr(importlib.import_module("torch_testing_shim._cases.dynamo"), name)


__getattr__ = served(
    __name__,
    {
        "ACCELERATOR_DIST_BACKENDS": lambda: [process_group_backend(device) for device in accelerators()],
        "DDP_RANK_DEVICES": accelerators,
        "HAS_ACCELERATOR": lambda: bool(accelerators()),
        "PLATFORM_SUPPORTS_SYMM_MEM": evaluate_platform_supports_symm_mem,
        "TIMEOUT_DEFAULT": lambda: get_timeout(""),
        **{name: functools.partial(_of_compiled_code, name) for name in _OF_COMPILED_CODE},
    },
)
