"""The file that process groups meet in, where the ranks of a test share no file system: a part of the launcher's store.

The connection stays from test to test: each new one costs the launcher's store the look-up of a name.

Tests make a `FileStore` of the path, under whichever name they have imported the class, or give `init_process_group`
the path as a URL, which makes one, too. So the class itself makes a `PrefixStore` for a path in the scratch folder.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from torch._C._distributed_c10d import FileStore, PrefixStore, Store

from torch_testing_shim._engine.joined.bounded_store import BoundedStore, StoreLostError

#: How long a test waits in the store for another rank unless it says how long, in seconds.
_WAIT_SECONDS = 30.0
#: How long the store may take to answer on a connection that nobody waits in, in seconds.
_QUIET_SECONDS = 1.0


class Meeting:
    """Where the process groups of the current test meet; nowhere, but for files, while `folder` is None."""

    def __init__(self) -> None:
        self.folder: Path | None = None  # the scratch folder of the test
        self._connect: Callable[[], Store] | None = None
        self._connection: BoundedStore | None = None
        self._store: Store | None = None
        self._prefix = ""

    def open(self, connect: Callable[[], Store]) -> None:
        """Connect with the store.

        Raises:
            StoreLostError: it cannot be reached.
        """
        self._connect, self._connection = connect, BoundedStore(connect)
        self._connection.ask(_as_new)

    def begin(self, folder: Path, prefix: str) -> None:
        """Let groups meet in the store, below `prefix`, for files in the folder."""
        _replace_file_store()
        self.folder, self._prefix, self._store = folder, prefix, None

    def end(self) -> None:
        self.folder = self._store = None

    def store_for(self, path: str) -> Store | None:
        """Return the part of the store that stands for a file; None for a file that is just a file."""
        if self.folder is None or not Path(path).is_relative_to(self.folder):
            return None
        if self._store is None:
            self._store = self._quiet_store()
        return PrefixStore(f"{self._prefix}/{Path(path).relative_to(self.folder)}", self._store)

    def _quiet_store(self) -> Store:
        """Return the store by the connection of the tests before, or by a new one where one of them has left a thread
        that waits in it: nobody else's call would get through."""
        assert self._connect is not None and self._connection is not None, "it is opened before tests begin"
        with suppress(StoreLostError):
            return cast(Store, self._connection.ask(_as_new, _QUIET_SECONDS))
        self._connection.close()
        self._connection = BoundedStore(self._connect)
        return cast(Store, self._connection.ask(_as_new))


def _as_new(store: Store) -> Store:
    store.set_timeout(timedelta(seconds=_WAIT_SECONDS))  # a test may have set its own
    store.check(["quiet"])
    return store


MEETING = Meeting()


@functools.cache
def _replace_file_store() -> None:
    made: Callable[..., Any] = FileStore.__new__

    def make(cls: type, file_name: str | os.PathLike[str] = "", *args: Any, **kwargs: Any) -> Any:
        return MEETING.store_for(os.fspath(file_name)) or made(cls)

    FileStore.__new__ = staticmethod(make)  # type: ignore[method-assign]
