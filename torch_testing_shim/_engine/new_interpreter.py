"""New interpreters: the command of one like this, and how one becomes like the test process.

    test process --likeness(), as JSON--> the test's scratch folder --> new interpreter: become_alike(likeness)

Most of the likeness is multiprocessing's, as for its own children: the main module, `sys.path`, `sys.argv`, the working
folder. Where pytest runs the tests, its `conftest` modules are imported too, and asserts are rewritten, so that a
failure says the same as in a rank that is forked from the test process. Imports no torch: a test's main module may set
what torch reads.
"""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import process, spawn
from pathlib import Path
from types import ModuleType
from typing import Any

from torch_testing_shim._shared.python_command import interpreter_flags

_REWRITER = "_pytest.assertion.rewrite"
_PACKAGE_HOME = str(Path(__file__).parents[2])


def likeness() -> dict[str, Any]:
    """Describes this process, in types that JSON has.

    Raises:
        RuntimeError: this process is itself a rank that imports its main module.
    """
    with _folder_that_is_there():
        preparation = spawn.get_preparation_data("rank")
    preparation.pop("authkey")  # each rank has its own
    for name in ("sys_path", "sys_argv"):
        preparation[name] = [text for text in preparation[name] if isinstance(text, str)]
    modules = [(name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items())]
    return {
        "preparation": preparation,
        "conftests": [(name, file) for name, file in modules if file and name.split(".")[-1] == "conftest"],
        "rewrites_asserts": any(type(finder).__module__ == _REWRITER for finder in sys.meta_path),
    }


@contextmanager
def _folder_that_is_there() -> Iterator[None]:
    """Leaves the working folder for a while where a test has removed it: multiprocessing asks for its name, and no new
    interpreter can import torch there (MKL). Ranks enter it later."""
    here = os.open(os.curdir, os.O_RDONLY)
    try:
        if not os.fstat(here).st_nlink:
            os.chdir(os.sep)
        yield
    finally:
        os.fchdir(here)
        os.close(here)


def become_alike(likeness: dict[str, Any]) -> None:
    """Makes this new interpreter like the process that `likeness` describes."""
    if likeness["rewrites_asserts"]:
        with suppress(Exception):  # private parts of pytest: where they have changed, failures say less
            _rewrite_asserts()
    current: Any = multiprocessing.current_process()
    current._inheriting = True  # keeps it from starting processes, as multiprocessing's children
    try:
        spawn.prepare(likeness["preparation"])
    finally:
        del current._inheriting
    for name, file in likeness["conftests"]:
        with suppress(Exception, SystemExit):  # it may need more of pytest than there is here
            import_module(name, file)


def become_child(parent: int, rank: int) -> None:
    """Makes multiprocessing say whose child this process is, and its name, as it does in its own children and as
    upstream's ranks have it. Test files ask for these to learn whether they run in a rank."""
    multiprocessing.current_process().name = f"process {rank}"
    if multiprocessing.parent_process() is None and hasattr(os, "pidfd_open"):
        with suppress(OSError):  # the parent has ended
            end = os.pidfd_open(parent)
            process._parent_process = process._ParentProcess("MainProcess", parent, end)  # type: ignore[attr-defined]


def import_module(name: str, file: str | None) -> ModuleType:
    """Returns the module of this name in the test process, imported by name or else from its file.

    Raises:
        ImportError: it cannot be imported.
        BaseException: raised by its code.
    """
    found = sys.modules.get(name)
    if found is not None:
        return found
    try:
        return importlib.import_module(name)
    except ImportError:
        spec = importlib.util.spec_from_file_location(name, file) if file else None
        if spec is None or spec.loader is None:
            raise ImportError(f"a rank cannot import the test's module {name!r}") from None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _rewrite_asserts() -> None:
    try:
        from _pytest.assertion import install_importhook
        from _pytest.config import get_config
    except ImportError:  # pytest has moved it
        return
    install_importhook(get_config())


def interpreter_command() -> list[str]:
    """The command of a new interpreter with the executable and the options of this one. It runs the program that is its
    next argument."""
    return [os.fsdecode(spawn.get_executable()), *interpreter_flags(), "-c"]


def program_with_package(program: str) -> str:
    """A program that can import this package, from wherever that is."""
    return f"import sys\nsys.path.insert(0, {_PACKAGE_HOME!r})\n{program}"
