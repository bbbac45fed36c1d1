"""Scratch folders: made for one test, removed after it, and after a killed run by the next one (see
`_stamped_folders`)."""

from __future__ import annotations

from torch_testing_shim._engine.job import ScratchFolder
from torch_testing_shim._engine.running_ranks import LaunchError
from torch_testing_shim._shared.owned_folders import make_folder, remove_folder
from torch_testing_shim._shared.settings import read_settings

__all__ = ["check_scratch_folder", "make_scratch_folder", "remove_scratch_folder"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def make_scratch_folder() -> ScratchFolder:
    """Makes the private folder of one test.

    Raises:
        LaunchError: the temporary folder cannot be written.
    """
    place = read_settings().temporary_folder
    where = place or "the system's temporary folder"
    try:
        folder = ScratchFolder(make_folder(place))
    except OSError as error:
        raise LaunchError(f"cannot make a scratch folder in {where}: {error.strerror}") from None
    try:
        folder.temporary.mkdir(mode=0o700)
    except OSError as error:
        remove_scratch_folder(folder)
        raise LaunchError(f"cannot write a scratch folder in {where}: {error.strerror}") from None
    return folder


def check_scratch_folder() -> None:
    """Makes sure that scratch folders can be made, so that a run that cannot have any ends before its first test.

    Raises:
        LaunchError: the temporary folder cannot be written.
    """
    remove_scratch_folder(make_scratch_folder())


def remove_scratch_folder(folder: ScratchFolder) -> None:
    """Removes the folder and all in it, also what a test has made read-only."""
    remove_folder(folder.path)
