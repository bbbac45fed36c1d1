"""Upstream's `distributed.multi_threaded_pg`: a process group whose ranks are threads of one process."""

from __future__ import annotations

from torch_testing_shim._cases.threads.process_group import (
    ProcessLocalGroup,
)
from torch_testing_shim._cases.threads.process_group import create_threaded_pg as _create_threaded_pg
from torch_testing_shim._cases.threads.process_group import install_threaded_pg as _install_threaded_pg
from torch_testing_shim._cases.threads.process_group import uninstall_threaded_pg as _uninstall_threaded_pg
from torch_testing_shim._cases.threads.thread_world import ThreadLocalWorld
from torch_testing_shim._cases.threads.threaded_collectives import (
    AllGather,
    AllReduce,
    AllToAll,
    AllToAllBase,
    Broadcast,
    Gather,
    ReduceScatter,
    Scatter,
    binop_reduce,
    bitwise_reduce,
    flatten_list,
)
from torch_testing_shim._cases.threads.threaded_works import ret_work
from torch_testing_shim._upstream.graft import served

__all__ = [
    "AllGather",
    "AllReduce",
    "AllToAll",
    "AllToAllBase",
    "Broadcast",
    "Gather",
    "ProcessLocalGroup",
    "ReduceScatter",
    "Scatter",
    "ThreadLocalWorld",
    "_create_threaded_pg",
    "_install_threaded_pg",
    "_uninstall_threaded_pg",
    "binop_reduce",
    "bitwise_reduce",
    "flatten_list",
    "ret_work",
]

__getattr__ = served(__name__)
