"""The tree of a run: where its test files lie, what they are called, and where reports about them go.

A test file is called `test_*.py`, or as the project says. Its name is its path below the tests' folder without `.py`,
with forward slashes, as upstream names it: `distributed/checkpoint/test_fsdp_optim_state`.

With `--upstream PATH ...` PyTorch's own test files, wherever they lie, take the place of the tree's. They run by
`python -m torch_testing_shim FILE`, which serves their imports of PyTorch's harness from this package, and their names
start at the folder that all PATHs have in common.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from ..usage_error import UsageError

#: How test files are called, where nobody says otherwise, and how pytest has it.
DEFAULT_PATTERNS = ("test_*.py",)
_PYTESTS_PATTERNS = (*DEFAULT_PATTERNS, "*_test.py")
REPORTS = "test-reports"
#: Folders that hold no tests, wherever they lie: written reports and Python's caches.
SKIPPED_FOLDERS = frozenset({REPORTS, "__pycache__"})


@dataclass(frozen=True)
class Tree:
    """The folders of a run, each absolute, and resolved once."""

    root: Path  # the project's folder: coverage is reported of files below it
    tests: Path  # the folder that names of test files start at
    reports: Path  # the folder for recorded times, failures of the last run, coverage data and, by default, JUnit XML
    #: Folder put first on PYTHONPATH, so that test files import the torch_testing_shim that lies in it; None where the
    #: package is installed.
    package: Path | None = None
    upstream: tuple[str, ...] = ()  # the PATHs of `--upstream`, as given; empty where the tree's own files run
    #: Globs over the names of the tree's own test files; one has to match.
    patterns: tuple[str, ...] = DEFAULT_PATTERNS
    excluded: tuple[str, ...] = ()  # globs over the paths of folders below the tests' folder that are passed over

    @classmethod
    def of_repository(cls, root: Path, tests: Path | None = None) -> Tree:
        """The tree of the project in `root`, whose test files lie in `tests`, or by default in its folder `test`."""
        package = root if (root / "torch_testing_shim").is_dir() else None
        tests = root / "test" if tests is None else tests
        return cls(root, tests, tests / REPORTS, package)

    def with_upstream(self, paths: Sequence[str]) -> Tree:
        """This tree with the test files at `paths` in place of its own; the tree itself where there are no paths."""
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
        """The sorted names of all test files."""
        if self.upstream:
            return tuple(sorted(set(self._upstream_names())))
        return find_test_names(self.tests, self.patterns, self.excluded)

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
                yield from ((below / name).as_posix() for name in find_test_names(path, _PYTESTS_PATTERNS))
            else:
                yield below.as_posix().removesuffix(".py")


def find_test_names(
    test_folder: Path, patterns: Sequence[str] = DEFAULT_PATTERNS, excluded: Sequence[str] = ()
) -> tuple[str, ...]:
    """The sorted names of all test files below `test_folder`. Hidden folders and virtual environments are passed over.

    Args:
        patterns: globs over the files' own names; one has to match.
        excluded: globs over the paths of folders, relative to `test_folder`, that are passed over.
    """
    if not test_folder.is_dir():
        raise UsageError(f"there is no test folder at {str(test_folder)!r}")
    names = []
    for folder, subfolders, files in os.walk(test_folder, onerror=_refuse):
        below = Path(folder).relative_to(test_folder)
        subfolders[:] = [name for name in subfolders if _may_hold_tests(test_folder, below / name, excluded)]
        found = [name for name in files if name.endswith(".py") and _matches(name, patterns)]
        names += [(below / name[: -len(".py")]).as_posix() for name in found]
    for name in names:
        if not name.isprintable():
            raise UsageError(f"the test file {name + '.py'!r} has characters in its name that cannot be printed")
    return tuple(sorted(names))


def _may_hold_tests(test_folder: Path, below: Path, excluded: Sequence[str]) -> bool:
    is_of_project = below.name not in SKIPPED_FOLDERS and not below.name.startswith(".")
    is_environment = os.path.exists(test_folder / below / "pyvenv.cfg")
    return is_of_project and not is_environment and not _matches(below.as_posix(), excluded)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern.rstrip("/")) for pattern in patterns)


def _refuse(error: OSError) -> None:
    raise UsageError(f"cannot read the folder {error.filename!r}: {error.strerror}")
