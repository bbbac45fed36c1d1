"""The file that process groups meet in, where the ranks of a test share no file system: a part of the launcher's store.

Tests make a `FileStore` of the path, under whichever name they have imported the class, or give `init_process_group`
the path as a URL, which makes one, too. So the class itself makes a `PrefixStore` for a path in the scratch folder.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch._C._distributed_c10d import FileStore, PrefixStore, Store


class Meeting:
    """Where the process groups of the current test meet; nowhere, but for files, while `folder` is None.

    Attributes:
        folder: the scratch folder of the test.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._connect: Callable[[], Store] | None = None
        self._store: Store | None = None
        self._prefix = ""

    def begin(self, folder: Path, prefix: str, connect: Callable[[], Store]) -> None:
        """Lets groups meet in the store, below `prefix`, for files in the folder."""
        _replace_file_store()
        self.folder, self._prefix, self._connect, self._store = folder, prefix, connect, None

    def end(self) -> None:
        self.folder = self._connect = self._store = None

    def store_for(self, path: str) -> Store | None:
        """Returns the part of the store that stands for a file; None for a file that is just a file."""
        if self.folder is None or self._connect is None or not Path(path).is_relative_to(self.folder):
            return None
        if self._store is None:
            self._store = self._connect()  # a connection of the test's own: it may wait in it, and sets its time-out
        return PrefixStore(f"{self._prefix}/{Path(path).relative_to(self.folder)}", self._store)


MEETING = Meeting()


@functools.cache
def _replace_file_store() -> None:
    made: Callable[..., Any] = FileStore.__new__

    def make(cls: type, file_name: str | os.PathLike[str] = "", *args: Any, **kwargs: Any) -> Any:
        return MEETING.store_for(os.fspath(file_name)) or made(cls)

    FileStore.__new__ = staticmethod(make)  # type: ignore[method-assign]
