"""Folders that belong to a process: made and removed by it, or if it was killed, removed by the next one.

Each is stamped with the process that owns it (see `process_identity`). A process that makes its first folder in some
place removes the same user's folders there whose owner is dead. A folder without a stamp, or whose owner may live,
stays.
Test files and the runner make such folders alike, so that either tidies up after both.
"""

from __future__ import annotations

import functools
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from torch_testing_shim._shared.process_identity import is_surely_dead, own_stamp, pid_in

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: The file in a folder that says whose it is.
STAMP = "owner"
#: Short, since two of them stand in the path of a rank's temporary folder, and a Unix socket's path may have 107 bytes.
_PREFIX = "tts-"
#: A stamp is some hundred bytes; a longer file is none.
_STAMP_BYTES = 1024

#: The folders that exist now, by the process that made them: a fork must not remove its parent's.
_OWN: set[tuple[int, Path]] = set()


def make_folder(place: str | None) -> Path:
    """Make a private folder, readable by its owner alone. The first time in a place, stale ones are removed there.

    Args:
        place: the folder to make it in; None for the system's temporary folder.
    """
    where = os.path.abspath(place or tempfile.gettempdir())  # a test may leave the working folder
    _remove_stale_once(where)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=where))
    _OWN.add((os.getpid(), folder))
    try:
        if (stamp := own_stamp()) is not None:
            (folder / STAMP).write_text(stamp)
    except OSError:
        remove_folder(folder)
        raise
    return folder


def remove_folder(folder: Path) -> None:
    """Remove the folder and all in it, also what a test has made read-only; the stamp last, so that the next run can go
    on where this one is killed."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name != STAMP:
                _remove(entry.path)
    _remove(str(folder))
    if folder.exists() and (stamp := own_stamp()) is not None:  # a dying process has written to it meanwhile
        with suppress(OSError):
            (folder / STAMP).write_text(stamp)
    _OWN.discard((os.getpid(), folder))


def remove_own_folders() -> None:
    """Remove the folders of this process that are still there, for its end by force."""
    for pid, folder in tuple(_OWN):
        if pid == os.getpid():
            remove_folder(folder)


def remove_stale(place: str) -> None:
    """Remove the folders in `place` that are this user's and whose owner is dead. Two processes may do it at once:
    what one has removed, the other passes over."""
    for folder, _ in _stale(place):
        remove_folder(folder)


def folders_of_dead(place: str, pid: int) -> list[Path]:
    """Return the folders in `place` that are this user's and whose owner is dead and had this process id."""
    return [folder for folder, owner in _stale(place) if owner == pid]


def _stale(place: str) -> Iterator[tuple[Path, int]]:
    """The stale folders, each with the process id of its owner."""
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and (owner := _dead_owner(entry.path)) is not None:
                yield Path(entry.path), owner


@functools.cache
def _remove_stale_once(place: str) -> None:
    remove_stale(place)


def _dead_owner(folder: str) -> int | None:
    try:
        found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return None
        descriptor = os.open(os.path.join(folder, STAMP), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            stamp = os.read(descriptor, _STAMP_BYTES)
        finally:
            os.close(descriptor)
        owner = stamp.decode("ascii")
        return pid_in(owner) if is_surely_dead(owner) else None
    except (OSError, UnicodeDecodeError):
        return None


def _remove(path: str) -> None:
    """Remove a file, a link or a folder with all in it, as far as it can be done."""

    def unlock(function: object, path: str, _: object) -> None:
        with suppress(OSError):
            os.chmod(os.path.dirname(path), 0o700)
            if os.path.isdir(path) and not os.path.islink(path):  # a link's target is not ours
                os.chmod(path, 0o700)
                shutil.rmtree(path)
            else:
                os.unlink(path)

    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, onerror=unlock)
    else:
        unlock(os.unlink, path, None)
