"""A world of process groups for each thread, in place of the one that torch.distributed keeps for the process."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d

from torch_testing_shim._engine.thread_rendezvous import Rendezvous

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class ThreadLocalWorld(threading.local):
    """Torch.distributed's knowledge of process groups, separate for each thread; replaces its `_World`.

    Attributes:
        rendezvous: where the threads meet, one for all.
    """

    pg_config_info = c10d._World.pg_config_info

    def __init__(self, rendezvous: Rendezvous | None = None) -> None:  # called in each thread, with the same arguments
        self.rendezvous = rendezvous or Rendezvous()
        self.default_pg: dist.ProcessGroup | None = None
        self.pg_map: dict[dist.ProcessGroup, tuple[str, object]] = {}
        self.pg_names: dict[dist.ProcessGroup, str] = {}
        self.pg_group_ranks: dict[dist.ProcessGroup, dict[int, int]] = {}
        self.pg_backend_config: dict[dist.ProcessGroup, str] = {}
        self.group_count = 0
        self.tags_to_pg: dict[str, list[dist.ProcessGroup]] = {}
        self.pg_to_tag: dict[dist.ProcessGroup, str] = {}
        self.pg_coalesce_state: dict[dist.ProcessGroup, list[Any]] = {}
        self.comms: list[Any] = []
        self._others = c10d._World()

    def __getattr__(self, name: str) -> Any:
        """Read any other attribute of this torch's `_World` from the thread's own."""
        if name == "_others":
            raise AttributeError(name)
        return getattr(self._others, name)


class _Installation:
    """The time in which each thread has its own world."""

    def __init__(self, world: ThreadLocalWorld) -> None:
        self._world = c10d._world
        self.callbacks = contextlib.ExitStack()
        self._excepthook = sys.excepthook  # each init_process_group wraps one more around it
        _isolate_threads(True)
        c10d._world = world  # type: ignore[assignment]

    def end(self) -> None:
        c10d._world = self._world
        sys.excepthook = self._excepthook
        _isolate_threads(isinstance(self._world, ThreadLocalWorld))
        self.callbacks.close()


#: The current ones, the innermost last.
_INSTALLED: list[_Installation] = []


def install_world(rendezvous: Rendezvous | None) -> ThreadLocalWorld:
    """Give each thread its own world, until `uninstall_world`. Return the holder of the worlds."""
    world = ThreadLocalWorld(rendezvous or Rendezvous())
    _INSTALLED.append(_Installation(world))
    return world


def uninstall_world() -> None:
    """Undo the last `install_world`."""
    _INSTALLED.pop().end()


def has_thread_ranks() -> bool:
    """Return whether ranks are threads of this process now."""
    return bool(_INSTALLED)


def after_thread_ranks(callback: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """Call a function when the current thread ranks have ended their test."""
    _INSTALLED[-1].callbacks.callback(callback, *args, **kwargs)


def rendezvous_of_this_world() -> Rendezvous:
    """Return where the threads of the current world meet."""
    world: Any = c10d._world
    if not isinstance(world, ThreadLocalWorld):
        raise RuntimeError("the threaded backend is for tests whose ranks are threads (MultiThreadedTestCase)")
    return world.rendezvous


def _isolate_threads(on: bool) -> None:
    """Make C++ look up groups by name in each thread's own registry, as functional collectives need."""
    distributed: Any = torch._C._distributed_c10d
    switch = getattr(distributed, "_set_thread_isolation_mode", None)
    if switch is not None:
        switch(on)
