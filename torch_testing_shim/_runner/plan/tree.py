"""The tree of a run: where its test files lie, what they are called, and where reports about them go.

A test file is called `test_*.py`. Its name is its path below the tests' folder without `.py`, with forward slashes, as
upstream names it: `distributed/checkpoint/test_fsdp_optim_state`.

With `--upstream PATH ...` PyTorch's own test files, wherever they lie, take the place of the tree's. They run by
`python -m torch_testing_shim FILE`, which serves their imports of PyTorch's harness from this package, and their names
start at the folder that all PATHs have in common.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..usage_error import UsageError

__all__ = ["Tree", "find_test_names"]

#: Folders below the tests' folder that hold no tests: measurements, written reports, Python's caches.
SKIPPED_FOLDERS = frozenset({"benchmarks", "conformance", "test-reports", "__pycache__"})


@dataclass(frozen=True)
class Tree:
    """The folders of a run, each absolute, and resolved once.

    Attributes:
        root: the project's folder: coverage is reported of files below it.
        tests: the folder that names of test files start at.
        reports: the folder for recorded times, failures of the last run, coverage data and, by default, JUnit XML.
        package: folder put first on PYTHONPATH, so that test files import the torch_testing_shim that lies in it; None
            where the package is installed.
        upstream: the PATHs of `--upstream`, as given; empty where the tree's own files run.
    """

    root: Path
    tests: Path
    reports: Path
    package: Path | None = None
    upstream: tuple[str, ...] = ()

    @classmethod
    def of_repository(cls, root: Path) -> Tree:
        """The tree whose `run_test.py` lies in `root` beside the folder `test`."""
        package = root if (root / "torch_testing_shim").is_dir() else None
        return cls(root, root / "test", root / "test" / "test-reports", package)

    def with_upstream(self, paths: Sequence[str]) -> Tree:
        """This tree with the test files at `paths` in place of its own; the tree itself where there are no paths.

        Raises:
            UsageError: one of the paths is not there.
        """
        if not paths:
            return self
        for path in paths:
            if not os.path.exists(path):
                raise UsageError(f"--upstream: there is no file or folder {path!r}")
        found = [Path(os.path.realpath(path)) for path in paths]
        common = os.path.commonpath([path if path.is_dir() else path.parent for path in found])
        return replace(self, tests=Path(common), upstream=tuple(paths))

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The sorted names of all test files.

        Raises:
            UsageError: a folder cannot be read, or a test file's name cannot be printed on one line.
        """
        return tuple(sorted(set(self._upstream_names()))) if self.upstream else find_test_names(self.tests)

    @property
    def is_whole(self) -> bool:
        """The files are those of one folder, so that a name that is not among them belongs to no file."""
        return not self.upstream or (len(self.upstream) == 1 and os.path.isdir(self.upstream[0]))

    def path(self, name: str) -> Path:
        """The path of the test file called `name`."""
        return self.tests / f"{name}.py"

    def _upstream_names(self) -> Iterator[str]:
        for path in (Path(os.path.realpath(path)) for path in self.upstream):
            below = path.relative_to(self.tests)
            if path.is_dir():
                yield from ((below / name).as_posix() for name in find_test_names(path, as_pytest=True))
            else:
                yield below.as_posix().removesuffix(".py")


def find_test_names(test_folder: Path, *, as_pytest: bool = False) -> tuple[str, ...]:
    """The sorted names of all test files below `test_folder`; hidden folders are passed over.

    Args:
        as_pytest: include files that are called `*_test.py`, as pytest does.

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


def _is_test_file(name: str, as_pytest: bool) -> bool:
    return (name.startswith("test_") and name.endswith(".py")) or (as_pytest and name.endswith("_test.py"))


def _refuse(error: OSError) -> None:
    raise UsageError(f"cannot read the folder {error.filename!r}: {error.strerror}")
