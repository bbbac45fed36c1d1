"""What ranks communicate by, made for a test: stores, gloo devices, transports, folders to meet in."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore

from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._engine.rank_device import rank_device
from torch_testing_shim._flags import FILE_SCHEMA
from torch_testing_shim._retries import find_free_port, retry_on_connect_failures
from torch_testing_shim._settings import changed_environment

__all__ = [
    "captured_output",
    "cleanup_temp_dir",
    "create_device",
    "create_tcp_store",
    "has_efa",
    "init_multigpu_helper",
    "initialize_temp_directories",
    "tp_transports",
]

#: What `initialize_temp_directories` has made and not yet been told to remove.
_TEMPORARY = contextlib.ExitStack()


def create_device(interface: str | None = None, lazy_init: bool = False) -> Any:
    """A gloo device (upstream's `create_device`, torch 2.13).

    Args:
        interface: name of the network interface; by default, and always on Windows, that of 127.0.0.1.
        lazy_init: pairs connect when they first communicate.
    """
    make: Any = dist.ProcessGroupGloo.create_device
    if interface is None or sys.platform == "win32":
        return make(hostname="127.0.0.1", lazy_init=lazy_init)
    return make(interface=interface, lazy_init=lazy_init)


@retry_on_connect_failures
def create_tcp_store(
    addr: str = "localhost",
    world_size: int = 1,
    is_master: bool = True,
    timeout: timedelta = timedelta(minutes=5),
    wait_for_workers: bool = True,
    jit_class: bool = False,
    use_libuv: bool = True,
) -> Any:
    """A TCPStore on a port that is free (upstream's `create_tcp_store`, torch 2.13).

    Args:
        addr: host name of the master.
        world_size: number of users of the store.
        is_master: this process holds the store.
        timeout: of the store's operations.
        wait_for_workers: wait until all users have come.
        jit_class: make the class that TorchScript knows, where this torch has it (2.13 does not).
        use_libuv: which server the master runs.
    """
    if jit_class:
        milliseconds = timeout // timedelta(milliseconds=1)
        return torch.classes.dist_c10d.TCPStore(addr, find_free_port(), world_size, is_master, milliseconds)
    port = 0 if is_master else find_free_port()  # of a master the system chooses it, so that nobody takes it first
    return TCPStore(addr, port, world_size, is_master, timeout, wait_for_workers=wait_for_workers, use_libuv=use_libuv)


def init_multigpu_helper(world_size: int, backend: str) -> dict[int, list[int]]:
    """Which accelerators each rank is to use, by index (upstream's name, torch 2.13): one for each rank where there are
    enough, none where there are not. On the CPU each rank has the index of its own."""
    if not device_in_use().has_room_for(world_size):
        return {rank: [] for rank in range(world_size)}
    indices = {rank: rank_device(rank).index for rank in range(world_size)}
    return {rank: [rank if index is None else index] for rank, index in indices.items()}


@functools.cache
def has_efa() -> bool:
    """Whether the machine has an Elastic Fabric Adapter, as `fi_info` tells (upstream's name, torch 2.13)."""
    command = ["fi_info", "-p", "efa", "-t", "FI_EP_RDM"]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def tp_transports() -> list[str] | None:
    """The transports that TensorPipe is to be kept to, without InfiniBand, which an Elastic Fabric Adapter looks like
    and is not; None for all (upstream's name, torch 2.13)."""
    return ["shm", "uv"] if has_efa() else None


@contextlib.contextmanager
def captured_output() -> Iterator[tuple[TextIO, TextIO]]:
    """What Python prints while the body runs, as two streams to read from (upstream's name, torch 2.13)."""
    out, err = StringIO(), StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield out, err


def initialize_temp_directories(init_method: str | None = None) -> None:
    """Makes a temporary folder with the folders `barrier`, `test_dir` and `init_dir`, and tells it by TEMP_DIR, and by
    INIT_METHOD how a process group is to meet: by `init_method`, or a file in it (upstream's name, torch 2.13)."""
    folder = Path(_TEMPORARY.enter_context(tempfile.TemporaryDirectory()))
    for name in ("barrier", "test_dir", "init_dir"):
        (folder / name).mkdir()
    method = init_method if init_method is not None else f"{FILE_SCHEMA}{folder / 'init_dir' / 'shared_init_file'}"
    _TEMPORARY.enter_context(changed_environment({"TEMP_DIR": str(folder), "INIT_METHOD": method}))


def cleanup_temp_dir() -> None:
    """Removes what `initialize_temp_directories` has made, the variables included (upstream's name, torch 2.13)."""
    _TEMPORARY.close()
