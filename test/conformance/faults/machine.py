"""What some faults need: of the machine a memory cgroup, a disk of a few MiB (both take root); of Python and torch what
older ones lack."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "shim"))

import torch
import torch.distributed.distributed_c10d as c10d
from hosts import LOSSY, NARROW, Hosts, reason_not_to_make

#: What the processes in the memory cgroup may use beyond what they brought along.
MEMORY_BYTES = 64 << 20
#: Where memory cgroups are made, version 1 and 2, and the file that takes the limit.
_PLACES = (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max"))
#: Runs a command in a mount namespace of its own, where TMPDIR is a small disk: it goes with the last process in it.
ON_SMALL_DISK = (
    *("unshare", "--mount", "sh", "-c"),
    'mount -t tmpfs -o size=4m,mode=700 tmpfs "$TMPDIR" && exec "$@"',
    "on-small-disk",
)
#: How long the kernel may take to let go of a cgroup whose processes have ended, in seconds.
_CGROUP_SECONDS = 2.0


def make_memory_cgroup(name: str) -> Path:
    """Makes a memory cgroup with a limit and returns its folder.

    Raises:
        OSError: there is none to be had here.
    """
    for place, limit in _PLACES:
        folder = Path(place, name)
        if not Path(place, "cgroup.procs").exists():
            continue
        folder.mkdir(exist_ok=True)
        if (folder / limit).exists():
            (folder / limit).write_text(str(MEMORY_BYTES))
            for no_swap in ("memory.swappiness", "memory.swap.max"):
                if (folder / no_swap).exists():
                    (folder / no_swap).write_text("0")
            return folder
        folder.rmdir()
    raise OSError("no memory controller")


def remove_memory_cgroup(name: str) -> None:
    """Removes it where it is there; its processes have ended, or are about to."""
    give_up = time.monotonic() + _CGROUP_SECONDS
    for folder in (Path(place, name) for place, _ in _PLACES):
        while folder.exists() and time.monotonic() < give_up:
            with suppress(OSError):
                folder.rmdir()
                break
            time.sleep(0.01)


@functools.cache
def why_no_memory_cgroup() -> str:
    name = f"torch_testing_shim-faults-{os.getpid()}"
    try:
        make_memory_cgroup(name)
    except OSError as error:
        return f"no memory cgroup can be made here ({error})"
    finally:
        remove_memory_cgroup(name)
    return ""


@functools.cache
def why_no_tbf() -> str:
    return _why_not_slow(NARROW)


@functools.cache
def why_no_netem() -> str:
    return _why_not_slow(LOSSY)


def _why_not_slow(how: Sequence[str]) -> str:
    if why_not := reason_not_to_make():
        return why_not
    with Hosts(1) as hosts:
        return hosts.slow_down(0, how)


@functools.cache
def why_no_small_disk() -> str:
    try:
        command = [*ON_SMALL_DISK[:4], "mount -t tmpfs tmpfs /tmp"]
        tried = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except OSError as error:
        return f"no small disk can be mounted here ({error})"
    return f"no small disk can be mounted here ({tried.stderr.strip()})" if tried.returncode else ""


def why_no_exception_group() -> str:
    return "" if sys.version_info >= (3, 11) else "this Python has no exception groups"


def why_no_reductions() -> str:
    """Torch's gloo has a `reduce_scatter` since operators are told which reduction they carry out."""
    is_told = hasattr(torch.classes.c10d.ReduceOp(), "op")
    return "" if is_told else "this torch tells no operator its reduction, and its gloo does not know all collectives"


def why_no_recorder() -> str:
    return "" if hasattr(c10d, "_dump_fr_trace_json") else "this torch has no recorder for gloo"


def why_no_later_timeout() -> str:
    """Torch's gloo waits as long as its group was made for, whatever is set later, as long as it has no recorder."""
    return why_no_recorder() and "the gloo of this torch keeps the timeout that a group was made with"
