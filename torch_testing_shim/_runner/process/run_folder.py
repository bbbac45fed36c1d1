"""The folder of one run: outputs, journals and temporary files of all its test files lie below it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch_testing_shim._shared.owned_folders import make_folder, remove_folder
from torch_testing_shim._shared.settings import read_temporary_folder

from ..usage_error import UsageError

__all__ = ["scratch_folder"]


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A private folder for outputs and journals, removed at the end, or by the next run where this one is killed.

    Raises:
        UsageError: there is no place for temporary files: TMPDIR names none, or the disk is full.
    """
    try:
        folder = make_folder(read_temporary_folder())
    except OSError as error:
        raise UsageError(f"cannot make a temporary folder (TMPDIR chooses where): {error}") from error
    try:
        yield folder
    finally:
        remove_folder(folder)
