"""Copies of the package in which mutations are made, and the modules' test files, which run on them.

    mutate.py --copy, test file--> fork server --fork--> python TEST_FILE --failfast
        ^                                                      |
        '--------------------- exit status --------------------'

The fork server has imported what test files import beside the package, torch above all; the package it must not import,
nor may `__main__`, which each fork imports: the test file has to import the copy's.
"""

from __future__ import annotations

import enum
import itertools
import multiprocessing
import os
import queue
import runpy
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from mutations.mutation import Mutation

#: A test file that runs longer hangs by the mutation, which is thereby noticed; in seconds.
_PATIENCE_SECONDS = 120.0
#: Modules that the fork server imports.
_PRELOAD = ("torch", "numpy.random", "hypothesis", "expecttest", "unittest.mock")
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
        preload: modules that the test files share.
    """

    def __init__(self, root: Path, package: str, number: int, preload: Sequence[str] = _PRELOAD) -> None:
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload([*preload])
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
        """Run the module's test file with the mutation in place."""
        source = self._source(self._root, mutation.module).read_text("utf-8")
        return self._run(mutation.module, mutation.apply(source))

    def run_unchanged(self, module: str) -> Outcome:
        """Run the module's test file as it is."""
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
        process = self._processes.Process(target=_run_test, args=(str(test), str(copy)))
        process.start()
        process.join(_PATIENCE_SECONDS)
        if process.exitcode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid or 0, signal.SIGKILL)
            process.join()
        return Outcome.PASSED if process.exitcode == 0 else Outcome.FAILED

    def _source(self, folder: Path, module: str) -> Path:
        return folder.joinpath(self._package, *module.split(".")).with_suffix(".py")


def _run_test(test: str, copy: str) -> None:
    """In a fork: become `python TEST --failfast`, whose package is the copy's."""
    os.setsid()
    os.chdir(copy)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    os.environ.update(PYTHONPATH=copy, XDG_CACHE_HOME=f"{copy}/cache")
    sys.path[:0] = [os.path.dirname(test), copy]
    sys.argv = [test, "--failfast"]
    sys.orig_argv = [sys.executable, *sys.argv]
    runpy.run_path(test, run_name="__main__")
