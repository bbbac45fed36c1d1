"""Leaks: what a test that passed leaves in the test process, reported with the test's name.

A test that failed is not checked: its traceback may hold what it opened. What the test's ranks leave ends with them.

The first use of torch or Python opens things that stay for good; no test is to blame for them. They are known by their
kind: devices and the kernel's anonymous files, threads of C++ libraries and of torch, helper processes that run a
module of torch or multiprocessing, the pipes to these, one event loop of gloo, one pipe of libuv, and what an
accelerator's driver opens (see `library_descriptors`).
"""

from __future__ import annotations

import gc
import os
import re
import stat
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from torch_testing_shim._engine.leftovers import command_of
from torch_testing_shim._isolation.library_descriptors import (
    DriverState,
    descriptor_targets,
    driver_state,
    event_loops,
    held_by_python,
    open_descriptors,
    signal_pipes,
)

__unittest = True  # unittest and pytest leave the frames of this module out of a report

_SHARED_MEMORY = "/dev/shm"
#: Kinds of descriptors that count. Libraries open the others once: /dev/urandom, epoll.
_COUNTED_KINDS = frozenset({stat.S_IFREG, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFSOCK})
#: Variables that libraries set for themselves when they are first used.
_VARIABLES_OF_LIBRARIES = ("CUDA_MODULE_LOADING", "TORCHINDUCTOR_", "TRITON_", "KMP_", "PYTEST_")
#: Parts of the command line by which a library's helper process is known.
_HELPER_MARKS = (
    b"multiprocessing.resource_tracker",
    b"multiprocessing.forkserver",
    os.path.dirname(torch.__file__).encode(),
)


class LeakError(AssertionError):
    """A test left something in the test process; the message is one line."""


@dataclass(frozen=True)
class Snapshot:
    """The state of this process that tests have to leave as they find it."""

    descriptors: frozenset[tuple[int, int, int]]  # open files, pipes and sockets, each as (number, device, inode)
    threads: frozenset[threading.Thread]  # Python's
    children: frozenset[int]  # ids of the processes that this thread has started; empty where the system does not tell
    segments: frozenset[str]  # names in /dev/shm
    environment: dict[str, str]
    torch: dict[str, object]  # torch's settings, by name
    driver: DriverState


def take_snapshot() -> Snapshot:
    """Return the state now; takes some ten microseconds."""
    return Snapshot(
        descriptors=frozenset(_descriptors()),
        threads=frozenset(threading.enumerate()),
        children=frozenset(_children()),
        segments=frozenset(_segments()),
        environment=dict(os.environ),
        torch={
            "the default dtype": torch.get_default_dtype(),
            "deterministic mode": torch.are_deterministic_algorithms_enabled(),
            "deterministic mode that only warns": torch.is_deterministic_algorithms_warn_only_enabled(),
            "the process group": dist.is_available() and dist.is_initialized(),
        },
        driver=driver_state(),
    )


def leaks_since(before: Snapshot, harness_pids: Collection[int], harness_descriptors: Collection[int]) -> list[str]:
    """Describe what is left since `before`, when the test started, in a few words each: without the harness's own
    processes and descriptors, which stay. Take long only where something is left."""
    if take_snapshot() == before:
        return []
    gc.collect()  # things that only a cycle of references holds are not leaks
    now = take_snapshot()
    helpers = {pid for pid in now.children if _is_helper(pid)}
    return [
        *_new_children(now.children - before.children - helpers - frozenset(harness_pids)),
        *_new_descriptors(
            now.descriptors - before.descriptors,
            helpers,
            {
                *harness_descriptors,
                *(_of_driver(now.descriptors - before.descriptors) if now.driver != before.driver else ()),
                *_kept_for_good(event_loops(), before.descriptors, now.descriptors),
                *_kept_for_good(signal_pipes(), before.descriptors, now.descriptors),
            },
        ),
        *(f"thread {thread.name!r}" for thread in now.threads - before.threads if not is_torchs_thread(thread)),
        *(f"shared memory {_SHARED_MEMORY}/{name}" for name in now.segments - before.segments if _is_left(name)),
        *_changed_variables(before.environment, now.environment),
        *_changed_settings(before.torch, now.torch),
    ]


def _descriptors() -> Iterator[tuple[int, int, int]]:
    for number, found in open_descriptors():
        if stat.S_IFMT(found.st_mode) in _COUNTED_KINDS:
            yield number, found.st_dev, found.st_ino


def _children() -> Iterator[int]:
    with suppress(OSError), open("/proc/thread-self/children", "rb") as children:
        yield from map(int, children.read().split())


def _segments() -> list[str]:
    with suppress(OSError):
        return os.listdir(_SHARED_MEMORY)
    return []


def _is_helper(pid: int) -> bool:
    command = command_of(pid)
    return any(mark in command for mark in _HELPER_MARKS)


def _new_children(pids: Collection[int]) -> Iterator[str]:
    for pid in sorted(pids):
        command = command_of(pid).replace(b"\0", b" ").decode(errors="replace").strip()
        yield f"process {pid} ({command[:60] or 'ended, and nobody has waited for it'})"


def _new_descriptors(
    new: Collection[tuple[int, int, int]], helpers: Collection[int], harness_descriptors: Collection[int]
) -> Iterator[str]:
    """Describe new descriptors, except the harness's, and pipes and sockets whose other end a helper process has."""
    ends_of_helpers = {target for pid in helpers for _, target in descriptor_targets(pid)} if new else set()
    for number, _, _ in sorted(new):
        with suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{number}")
            if number not in harness_descriptors and target not in ends_of_helpers:
                yield f"descriptor {number} ({target})"


def _kept_for_good(
    found: Sequence[frozenset[int]], before: Collection[tuple[int, int, int]], now: Collection[tuple[int, int, int]]
) -> frozenset[int]:
    """Return the first of the sets of descriptors that a library may keep for good and that are there now, where none
    of them was there before: a library keeps one."""
    old = {number for number, _, _ in frozenset(before) & frozenset(now)}
    return found[0] if found and not any(one & old for one in found) else frozenset()


def _of_driver(new: Collection[tuple[int, int, int]]) -> frozenset[int]:
    """Return the new pipes and sockets that the driver may have opened, where it has been at work."""
    numbers = frozenset(number for number, _, _ in new) - held_by_python()
    return frozenset(number for number in numbers if _is_pipe_or_socket(number))


def _is_pipe_or_socket(descriptor: int) -> bool:
    with suppress(OSError):  # another thread has closed it
        mode = os.fstat(descriptor).st_mode
        return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
    return True


def is_torchs_thread(thread: threading.Thread) -> bool:
    """Return whether torch has started a thread of Python's for itself."""
    module = getattr(getattr(thread, "_target", None), "__module__", None) or ""
    return f"{module}.".startswith("torch.")


def _is_left(segment: str) -> bool:
    """Return whether a segment is certainly this process's: it has it mapped, or the segment's name contains its pid,
    as torch's do. Other tests run at the same time, and a segment does not name its owner."""
    if str(os.getpid()) in re.findall(r"\d+", segment):
        return True
    with suppress(OSError):
        return f"{_SHARED_MEMORY}/{segment}".encode() in Path("/proc/self/maps").read_bytes()
    return False


def _changed_variables(before: dict[str, str], now: dict[str, str]) -> Iterator[str]:
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name) and not name.startswith(_VARIABLES_OF_LIBRARIES):
            yield f"environment variable {name}" + (" (removed)" if name not in now else "")


def _changed_settings(before: dict[str, object], now: dict[str, object]) -> Iterator[str]:
    for name, value in now.items():
        if value != before[name]:
            yield f"{name} ({value}, was {before[name]})"
