"""Scratch folders: made for one test, removed after it, and after a killed run by the next one.

Each is stamped with the process that owns it (see `owner`). A process that makes its first folder removes those whose
owner is dead, of the same user and in the same place. A folder without a stamp, or whose owner may live, stays.
"""

from __future__ import annotations

import functools
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from torch_testing_shim._engine.job import ScratchFolder
from torch_testing_shim._engine.launcher import LaunchError
from torch_testing_shim._engine.owner import is_surely_dead, own_stamp
from torch_testing_shim._settings import read_settings

__all__ = ["check_scratch_folder", "make_scratch_folder", "remove_own_folders", "remove_scratch_folder", "remove_stale"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_PREFIX = "torch_testing_shim-"
#: A stamp is some hundred bytes; a longer file is none.
_STAMP_BYTES = 1024

#: The folders that exist now, by the process that made them: a fork must not remove its parent's.
_OWN: set[tuple[int, Path]] = set()


def make_scratch_folder() -> ScratchFolder:
    """Makes the private folder of one test, readable by its owner alone. The first time, stale ones are removed.

    Raises:
        LaunchError: the temporary folder cannot be written.
    """
    wanted = read_settings().temporary_folder
    try:
        place = wanted or tempfile.gettempdir()
        _remove_stale_once(place)
        folder = ScratchFolder(Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place)))
    except OSError as error:
        where = wanted or "the system's temporary folder"
        raise LaunchError(f"cannot make a scratch folder in {where}: {error.strerror}") from None
    _OWN.add((os.getpid(), folder.path))
    try:
        if (stamp := own_stamp()) is not None:
            folder.owner.write_text(stamp)
        folder.temporary.mkdir(mode=0o700)
    except OSError as error:
        remove_scratch_folder(folder)
        raise LaunchError(f"cannot write a scratch folder in {place}: {error.strerror}") from None
    return folder


def check_scratch_folder() -> None:
    """Makes sure that scratch folders can be made, so that a run that cannot have any ends before its first test.

    Raises:
        LaunchError: the temporary folder cannot be written.
    """
    remove_scratch_folder(make_scratch_folder())


def remove_scratch_folder(folder: ScratchFolder) -> None:
    """Removes the folder and all in it, also what a test has made read-only; the stamp last, so that the next run can
    go on where this one is killed."""
    with suppress(OSError), os.scandir(folder.path) as entries:
        for entry in entries:
            if entry.path != str(folder.owner):
                _remove(entry.path)
    _remove(str(folder.path))
    if folder.path.exists() and (stamp := own_stamp()) is not None:  # a dying process has written to it meanwhile
        with suppress(OSError):
            folder.owner.write_text(stamp)
    _OWN.discard((os.getpid(), folder.path))


def remove_own_folders() -> None:
    """Removes the folders of this process that are still there, for its end by force."""
    for pid, path in tuple(_OWN):
        if pid == os.getpid():
            remove_scratch_folder(ScratchFolder(path))


def remove_stale(place: str) -> None:
    """Removes the scratch folders in `place` that are this user's and whose owner is dead. Two processes may do it at
    once: what one has removed, the other passes over."""
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and _is_stale(ScratchFolder(Path(entry.path))):
                remove_scratch_folder(ScratchFolder(Path(entry.path)))


@functools.cache
def _remove_stale_once(place: str) -> None:
    remove_stale(place)


def _is_stale(folder: ScratchFolder) -> bool:
    try:
        found = os.lstat(folder.path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return False
        descriptor = os.open(folder.owner, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            stamp = os.read(descriptor, _STAMP_BYTES)
        finally:
            os.close(descriptor)
        return is_surely_dead(stamp.decode("ascii"))
    except (OSError, UnicodeDecodeError):
        return False


def _remove(path: str) -> None:
    """Removes a file, a link or a folder with all in it, as far as it can be done."""

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
