"""Discovery: which files under the test folder are test files.

A test file is called `test_*.py`; its name is its path below the test folder without `.py`, with forward slashes,
as upstream names it: `distributed/checkpoint/test_fsdp_optim_state`.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..usage_error import UsageError

__all__ = ["find_test_names", "test_path"]

#: Folders below the test folder that hold no tests: measurements, written reports, Python's caches.
SKIPPED_FOLDERS = frozenset({"benchmarks", "conformance", "test-reports", "__pycache__"})


def find_test_names(test_folder: Path, *, as_pytest: bool = False) -> tuple[str, ...]:
    """The sorted names of all test files below `test_folder`; hidden folders are passed over.

    Args:
        as_pytest: also files that are called `*_test.py`, as pytest has it.

    Raises:
        UsageError: the folder or one below it cannot be read, or a test file's name cannot be printed on one line.
    """
    if not test_folder.is_dir():
        raise UsageError(f"there is no test folder at {str(test_folder)!r}")
    names = []
    for folder, subfolders, files in os.walk(test_folder, onerror=_refuse):
        subfolders[:] = [name for name in subfolders if name not in SKIPPED_FOLDERS and not name.startswith(".")]
        below = Path(folder).relative_to(test_folder)
        names += [(below / name[: -len(".py")]).as_posix() for name in files if _is_test_file(name, as_pytest)]
    for name in names:
        if not name.isprintable():
            raise UsageError(f"the test file {name + '.py'!r} has characters in its name that cannot be printed")
    return tuple(sorted(names))


def test_path(test_folder: Path, name: str) -> Path:
    """Where the test file called `name` lies."""
    return test_folder / f"{name}.py"


def _is_test_file(name: str, as_pytest: bool) -> bool:
    return (name.startswith("test_") and name.endswith(".py")) or (as_pytest and name.endswith("_test.py"))


def _refuse(error: OSError) -> None:
    raise UsageError(f"cannot read the folder {error.filename!r}: {error.strerror}")
