"""Keeps the connections of a default process group from one test to the next, in ranks that are reused.

A gloo group of four ranks costs 30 ms to make and 20 ms to destroy, most of it for connections. Torch makes and
destroys its process group for each test as ever, with its names, tables, store and hooks; the gloo backend inside is
the one of the test before.

    init_process_group -> _new_process_group_helper -> ProcessGroupGloo(store, rank, size)
                                                          |  asked for here
                            a new backend  <--------------+-------------->  the parked backend
                     (it meets in a store of its own)               (all ranks have agreed that it is quiet)
"""

from __future__ import annotations

import functools
import inspect
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import DebugLevel, FileStore, get_debug_level
from torch.distributed import distributed_c10d

from torch_testing_shim._engine.parked_backend import Agreement, ParkedBackend, Wish

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_GLOO = "ProcessGroupGloo"
#: The names that are replaced, in the modules that have them.
_HELPER, _DESTROY = "_new_process_group_helper", "destroy_process_group"
#: Variables that a gloo backend is made by.
_VARIABLES = ("GLOO_DEVICE_TRANSPORT", "GLOO_SOCKET_IFNAME", "TORCH_GLOO_LAZY_INIT")
#: The key by which the group's first rank tells the others which file they meet in.
_MEETING_KEY = "torch_testing_shim"
#: Operators whose messages may lie in a connection unread when the test ends.
_BETWEEN_TWO = ("send", "recv_", "recv_any_source_")


class _GlooMaker:
    """Stands for torch's class `ProcessGroupGloo` while torch makes its default group. The backend that is made first
    is the group's; another one is a helper of the debug level DETAIL."""

    def __init__(self, gloo: Any, make: Callable[..., Any]) -> None:
        self._gloo, self._make, self._has_made = gloo, make, False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._has_made or any(kwargs.keys() - {"timeout"} and [kwargs.get("enable_reconfigure")]):  # torch 2.15
            return self._gloo(*args, **kwargs)
        self._has_made = True
        return self._make(*args, **kwargs)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._gloo)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gloo, name)


class GroupParking:
    """Parks the default process group of this rank between tests.

        parking = GroupParking(folder)
        parking.install()
        for each test: run it; parking.between_tests()
        parking.close()

    The first group of a test gets the parked one's connections; further ones are new, for what a test sees of its own
    groups. A group is parked where torch makes it as the whole world's, over gloo, without options, without a device
    that it is bound to, and below the debug level DETAIL; and where nothing is left in it: all ranks have left it, none
    has sent or received in pairs or registered a hook, and all have entered as many collectives.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is the same for all ranks that are reused together, and stays as long as they do."""
        self._folder = folder
        self._pid = os.getpid()
        self._gloo: Any = getattr(distributed_c10d, _GLOO, None)
        self._parked: ParkedBackend | None = None
        self._replaced: list[tuple[Any, str, Any]] = []
        self._library: Any = None
        self._has_made = False  # a group, in this test: another one of the same test is new, as in a fresh rank

    def install(self) -> None:
        """Replace torch's functions. Where this torch has no gloo, or not these functions, nothing is parked."""
        if not dist.is_available() or not dist.is_gloo_available() or not hasattr(distributed_c10d, _HELPER):
            return
        make, destroy = getattr(distributed_c10d, _HELPER), distributed_c10d.destroy_process_group
        signature = inspect.signature(make)

        @functools.wraps(make)
        def make_with_parked(*args: Any, **kwargs: Any) -> Any:
            with self._serving(signature.bind(*args, **kwargs).arguments):
                return make(*args, **kwargs)

        @functools.wraps(destroy)
        def destroy_and_park(group: Any = None) -> Any:
            is_whole = group is None or group == dist.GroupMember.WORLD
            destroyed = destroy(group)
            if is_whole:
                self._leave()
            return destroyed

        for module, name, function in (
            (distributed_c10d, _HELPER, make_with_parked),
            (distributed_c10d, _DESTROY, destroy_and_park),
            (dist, _DESTROY, destroy_and_park),
        ):
            self._replaced.append((module, name, getattr(module, name)))
            setattr(module, name, function)
        self._watch_pairs()

    def between_tests(self) -> None:
        """Park or destroy what the test has left in torch's books. All ranks call it after each test."""
        if not dist.is_available() or os.getpid() != self._pid:
            return
        if dist.is_initialized():
            distributed_c10d.destroy_process_group()
        self._leave()  # the test may have destroyed it by a function that it has imported by name
        self._has_made = False

    def close(self) -> None:
        """Put torch's functions back and close the connections of the parked group."""
        for module, name, function in reversed(self._replaced):
            setattr(module, name, function)
        self._replaced.clear()
        self._library = None
        self.drop()

    def drop(self) -> None:
        """Give the parked backend up; the other ranks are told."""
        if self._parked is not None:
            self._parked.refuse()
            self._parked = None

    def _backend(self, is_plain: bool, store: Any, rank: int, size: int, *, timeout: timedelta, **rest: Any) -> Any:
        """Return the parked backend where all ranks agree, else a new one. Ranks that doubt meet those that do not: a
        new backend has a store of its own in either case."""
        wish = Wish(rank, size, timeout, tuple(map(os.environ.get, _VARIABLES)))
        parked, is_first, self._has_made = self._parked, not self._has_made, True
        if is_plain and is_first and parked is not None and not parked.is_in_use and parked.take(wish):
            return parked.backend
        self.drop()
        path = self._folder / _meeting(store, rank, self._folder)
        agreement = Agreement(path.with_suffix(".agreement"), wish)
        backend = self._gloo(FileStore(str(path), size), rank, size, timeout=timeout, **rest)
        self._parked = ParkedBackend(backend, wish, agreement)
        if not is_plain:
            self.drop()
        return backend

    def _leave(self) -> None:
        parked = self._parked
        if parked is not None and parked.is_in_use and os.getpid() == self._pid and not parked.leave():
            self.drop()

    @contextmanager
    def _serving(self, arguments: Mapping[str, Any]) -> Iterator[None]:
        """Serve the gloo backend of a group that torch makes in the block."""
        is_default = not arguments.get("global_ranks_in_group")
        if not is_default or os.getpid() != self._pid:
            yield
            return
        if getattr(distributed_c10d, _GLOO) is not self._gloo:  # a test has replaced the class
            self.drop()
            yield
            return
        maker = _GlooMaker(self._gloo, functools.partial(self._backend, _is_plain(arguments)))
        setattr(distributed_c10d, _GLOO, maker)
        try:
            yield
        finally:
            setattr(distributed_c10d, _GLOO, self._gloo)

    def _watch_pairs(self) -> None:
        """Doubts the group once two ranks send and receive by it: a message may lie there that nobody has received, and
        the sequence numbers would not show it if each rank has sent one."""
        self._library = torch.library.Library("c10d", "IMPL")  # type: ignore[no-untyped-call]
        for name in _BETWEEN_TWO:
            overload = getattr(torch.ops.c10d, name).default
            self._library.impl(name, self._doubting(overload), "BackendSelect", with_keyset=True)

    def _doubting(self, overload: Any) -> Callable[..., Any]:
        below = torch._C._dispatch_keyset_full_after(torch._C.DispatchKey.BackendSelect)
        call = overload._handle.redispatch_boxed

        def enter(keys: torch._C.DispatchKeySet, *args: Any, **kwargs: Any) -> Any:
            if self._parked is not None:
                self._parked.is_doubted = True
            return call(keys & below, *args, **kwargs)

        return enter


def _is_plain(arguments: Mapping[str, Any]) -> bool:
    """Whether a group is made with nothing that a parked backend may not have."""
    special = (arguments.get("backend_options"), arguments.get("device_id"))
    return special == (None, None) and get_debug_level() != DebugLevel.DETAIL


def _meeting(store: Any, rank: int, folder: Path) -> str:
    """Return the name of the file that the ranks of a new backend meet in; the first of them chooses it."""
    if rank == 0:
        descriptor, path = tempfile.mkstemp(dir=folder)
        os.close(descriptor)
        store.set(_MEETING_KEY, Path(path).name)
    return str(store.get(_MEETING_KEY).decode())
