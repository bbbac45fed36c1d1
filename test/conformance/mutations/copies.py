"""Copies of the package in which mutations are made, and the modules' test files, which run on them."""

from __future__ import annotations

import enum
import itertools
import os
import queue
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from mutations.mutation import Mutation

#: A test file that runs longer hangs by the mutation, which is thereby noticed; in seconds.
_PATIENCE_SECONDS = 120.0
#: Modules without a test file of their own -> the module whose test file tests them.
_TESTED_BY = {"_assertions.leaves": "_assertions.comparison"}


class Outcome(enum.Enum):
    PASSED = enum.auto()
    FAILED = enum.auto()


class Copies:
    """As many copies of the package as test files may run at once; removed at the end of the block.

    Args:
        root: the folder that the package lies in.
        package: the package's name.
        number: of copies.
    """

    def __init__(self, root: Path, package: str, number: int) -> None:
        self._root, self._package, self._number = root, package, number
        self._folder = tempfile.TemporaryDirectory(prefix="mutate-", ignore_cleanup_errors=True)
        self._free: queue.Queue[Path] = queue.Queue()
        #: Python takes a compiled module for the source's where times are equal, so each mutation has its own.
        self._times = itertools.count(1_000_000_000)

    def __enter__(self) -> Copies:
        for number in range(self._number):
            copy = Path(self._folder.name, str(number))
            shutil.copytree(self._root / self._package, copy / self._package, ignore=shutil.ignore_patterns("*.pyc"))
            self._free.put(copy)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        self._folder.cleanup()

    def run(self, mutation: Mutation) -> Outcome:
        """Runs the module's test file with the mutation in place."""
        source = self._source(self._root, mutation.module).read_text("utf-8")
        return self._run(mutation.module, mutation.apply(source))

    def run_unchanged(self, module: str) -> Outcome:
        """Runs the module's test file as it is."""
        return self._run(module, self._source(self._root, module).read_text("utf-8"))

    def _run(self, module: str, source: str) -> Outcome:
        copy = self._free.get()
        path = self._source(copy, module)
        original = path.read_text("utf-8")
        try:
            self._write(path, source)
            return self._outcome(module, copy)
        finally:
            self._write(path, original)
            self._free.put(copy)

    def _write(self, path: Path, source: str) -> None:
        path.write_text(source, "utf-8")
        time = next(self._times)
        os.utime(path, (time, time))

    def _outcome(self, module: str, copy: Path) -> Outcome:
        *folders, name = _TESTED_BY.get(module, module).split(".")
        test = self._root.joinpath("test", "shim", *folders, f"test_{name}.py")
        environment = {**os.environ, "PYTHONPATH": str(copy), "XDG_CACHE_HOME": str(copy / "cache")}
        command = [sys.executable, str(test), "--failfast"]
        try:
            run = subprocess.run(
                command,
                cwd=copy,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_PATIENCE_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return Outcome.FAILED
        return Outcome.PASSED if run.returncode == 0 else Outcome.FAILED

    def _source(self, folder: Path, module: str) -> Path:
        return folder.joinpath(self._package, *module.split(".")).with_suffix(".py")
