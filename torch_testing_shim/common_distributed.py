"""Upstream's `common_distributed`: the base classes of tests that run on several ranks, and what decorates them.

What is not here is where `_distributed_names` says.
"""

from __future__ import annotations

from torch_testing_shim._cases.continuous import MultiProcContinuousTest
from torch_testing_shim._cases.lazy_names import LAZY_NAMES
from torch_testing_shim._cases.limits import DEFAULT_WORLD_SIZE, get_timeout
from torch_testing_shim._cases.multi_process import MultiProcessTestCase
from torch_testing_shim._cases.subtests import run_subtests
from torch_testing_shim._cases.threads.multi_threaded import MultiThreadedTestCase, spawn_threads_and_init_comms
from torch_testing_shim._engine.controller import RankError, RankFailure
from torch_testing_shim._engine.running_ranks import RankProcess
from torch_testing_shim._engine.skip_codes import TEST_SKIPS, TestSkip
from torch_testing_shim._skips.by_backend import (
    at_least_x_gpu,
    requires_accelerator_dist_backend,
    requires_gloo,
    requires_mpi,
    requires_nccl,
    requires_ucc,
    skip_if_lt_x_gpu,
    skip_if_win32,
)
from torch_testing_shim._upstream.graft import served

__all__ = [
    "DEFAULT_WORLD_SIZE",
    "TEST_SKIPS",
    "MultiProcContinousTest",
    "MultiProcContinuousTest",
    "MultiProcessTestCase",
    "MultiThreadedTestCase",
    "RankError",
    "RankFailure",
    "RankProcess",
    "TestSkip",
    "at_least_x_gpu",
    "get_timeout",
    "requires_accelerator_dist_backend",
    "requires_gloo",
    "requires_mpi",
    "requires_nccl",
    "requires_ucc",
    "run_subtests",
    "skip_if_lt_x_gpu",
    "skip_if_win32",
    "spawn_threads_and_init_comms",
]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

MultiProcContinousTest = MultiProcContinuousTest  # torch 2.4's spelling


__getattr__ = served(__name__, LAZY_NAMES)
