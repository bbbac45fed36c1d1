"""`--upstream PATH ...`: PyTorch's own test files, wherever they lie, in place of those under test/.

They run by `python -m torch_testing_shim FILE`, which serves their imports of PyTorch's harness from this package, or,
where they do not run their tests by `run_tests`, by `python -m torch_testing_shim --pytest FILE`.
Their names are their paths below the folder that all PATHs have in common.
"""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from torch_testing_shim._shared.main_part import read_main_part

from ..usage_error import UsageError
from .discovery import find_test_names

__all__ = ["add_upstream_arguments", "find_upstream_names", "is_for_pytest", "report_surface", "tests_folder"]


def add_upstream_arguments(group: argparse._ArgumentGroup) -> None:
    """The options that only such runs have."""
    add = group.add_argument
    add(
        "--upstream",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATH",
        help="run these files and folders, by pytest where they do not use run_tests",
    )
    add("--map-device", metavar="FROM=TO", help="make on TO what the files ask for on FROM, as cuda=cpu")
    add("--report-surface", action="store_true", help="list the names that the files import, and run nothing")


def tests_folder(root: Path, upstream: Sequence[str]) -> Path:
    """The folder that names of test files start at: `test` beside run_test.py, or what the PATHs have in common.

    Raises:
        UsageError: one of the PATHs is not there.
    """
    if not upstream:
        return root / "test"
    paths = [Path(os.path.realpath(path)) for path in upstream]
    for text, path in zip(upstream, paths, strict=True):
        if not path.exists():
            raise UsageError(f"--upstream: there is no file or folder {text!r}")
    return Path(os.path.commonpath([path if path.is_dir() else path.parent for path in paths]))


def find_upstream_names(folder: Path, upstream: Sequence[str]) -> tuple[str, ...]:
    """The sorted names, below `folder`, of the files that the PATHs are or hold."""
    found: set[str] = set()
    for path in (Path(os.path.realpath(path)) for path in upstream):
        if path.is_dir():
            found.update((path / name).relative_to(folder).as_posix() for name in find_test_names(path, as_pytest=True))
        else:
            found.add(path.relative_to(folder).as_posix().removesuffix(".py"))
    return tuple(sorted(found))


@functools.cache
def is_for_pytest(path: str) -> bool:
    """True for a file whose tests pytest has to run, as its source tells; what cannot be read tells so when it runs."""
    try:
        return not read_main_part(Path(path).read_bytes()).is_for_harness
    except OSError:
        return False


def report_surface(root: Path, upstream: Sequence[str]) -> int:
    """Prints which names the files import and which of them are missing; returns the exit status. In a process of its
    own, since it has to ask modules that import torch."""
    command = [sys.executable, "-m", "torch_testing_shim", "--report-surface", *map(os.path.abspath, upstream)]
    return subprocess.run(command, cwd=root, check=False).returncode
