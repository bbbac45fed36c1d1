"""Ranks that meet in a file learn at once that another has come.

Torch's `FileStore` looks for a key that is not there yet every 10 ms. Ranks come a few milliseconds apart, so most of
them would wait that long. A gloo backend asks its store here, which looks at the file's size every millisecond, and
asks torch's store once the file has grown. What ranks write there, how long they wait, and what they raise in the end
is torch's.
"""

from __future__ import annotations

import ctypes
import functools
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from torch._C._distributed_c10d import FileStore, PrefixStore, Store
from torch.distributed import distributed_c10d

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_GLOO = "ProcessGroupGloo"
#: Makes gloo connect when ranks first communicate. It then asks its store in threads that must not wait for Python.
_LAZY_GLOO = b"TORCH_GLOO_LAZY_INIT"
#: The pause between two looks at the file, in seconds.
_PAUSE = 0.001
#: How long a key is waited for in this way, in seconds. Then torch's store waits, with its own timeout: ranks that are
#: so far apart do not notice 10 ms.
_SECONDS = 0.5
#: With more ranks torch's store is asked: all of them would look at the file each time that one writes to it, which
#: takes more processor time than it saves.
_MOST_RANKS = 8


class QuickStore(Store):
    """Asks a `store` that lies in the file `path`, for a backend that connects its ranks while it is made."""

    def __init__(self, store: Any, path: str) -> None:
        super().__init__()
        self._store, self._path = store, path

    def set(self, key: str, value: Any) -> None:
        self._store.set(key, value)

    def get(self, key: str) -> bytes:
        self._await([key])
        value: bytes = self._store.get(key)
        return value

    def wait(self, keys: list[str], *timeout: timedelta) -> None:
        self._await(keys)
        self._store.wait(keys, *timeout)

    def _await(self, keys: list[str]) -> None:
        end = time.monotonic() + _SECONDS
        with suppress(OSError):  # the file is not there any more: torch's store says so
            while (now := time.monotonic()) < end:
                size = os.stat(self._path).st_size
                if self._store.check(keys):
                    return
                while os.stat(self._path).st_size == size and now < end:
                    time.sleep(_PAUSE)
                    now = time.monotonic()


@functools.cache
def meet_quickly() -> None:
    """Make the gloo backends of this process, and of those that are forked from it, ask a `QuickStore`."""
    gloo: Any = getattr(distributed_c10d, _GLOO, None)
    if gloo is None:  # this torch has none
        return
    make = gloo.__init__

    @functools.wraps(make)
    def make_with_quick_store(self: Any, *args: Any, **kwargs: Any) -> None:
        size = kwargs.get("size", args[2] if len(args) > 2 else 0)
        if kwargs.get("enable_reconfigure") or size > _MOST_RANKS or _is_lazy():  # the first is of torch 2.15
            make(self, *args, **kwargs)
        else:
            make(self, *map(_quick, args), **{name: _quick(value) for name, value in kwargs.items()})

    gloo.__init__ = make_with_quick_store


def _is_lazy() -> bool:
    return bool(_getenv()(_LAZY_GLOO))


@functools.cache
def _getenv() -> Callable[[bytes], bytes | None]:
    """Return C's function: gloo reads what C has, as `rank_preparation` sets it."""
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    return getenv


def _quick(value: Any) -> Any:
    """Return a `QuickStore` for a store that lies in a file, and everything else as it is."""
    store: Any = value
    while isinstance(store, PrefixStore):
        store = store.underlying_store
    return QuickStore(value, store.path) if isinstance(store, FileStore) else value  # type: ignore[attr-defined]
