"""New interpreters: the supervisor, the fork server and spawned ranks, until they are like the test process.

    test process --likeness(), as JSON--> the test's scratch folder --> new interpreter: become_alike(likeness)

Most of the likeness is multiprocessing's, as for its own children: the main module, `sys.path`, `sys.argv`, the working
folder. Where pytest runs the tests, its `conftest` modules are imported too, and asserts are rewritten, so that a
failure says the same as in a rank that is forked from the test process. Imports no torch: the supervisor needs none,
and the others import the test's main module first, which may set what torch reads.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import process, spawn
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from torch_testing_shim._engine.job import RankJob
from torch_testing_shim._engine.rank_server import RankServer
from torch_testing_shim._shared.parent_death import signal_on_parent_death
from torch_testing_shim._shared.python_command import interpreter_flags

#: How many objects more than otherwise are made before Python looks for garbage while modules are imported, which make
#: none: looking again and again takes a seventh of the import of torch.
_SELDOM = 1000
_REWRITER = "_pytest.assertion.rewrite"
_PACKAGE_HOME = str(Path(__file__).parents[2])


def interpreter_command() -> list[str]:
    """The command of a new interpreter with the executable and the options of this one. It runs the program that is its
    next argument."""
    return [os.fsdecode(spawn.get_executable()), *interpreter_flags(), "-c"]


def program_that_calls(function: Callable[..., object], *arguments: object, path: Sequence[str] | None = None) -> str:
    """A program that imports a function of this package and calls it.

    Args:
        function: the function.
        arguments: its arguments, of types whose `repr` is Python.
        path: the program's `sys.path`; by default Python's own, with the place of this package.
    """
    places = f"insert(0, {_PACKAGE_HOME!r})" if path is None else f"__setitem__(slice(None), {path!r})"
    module, name = function.__module__, function.__name__
    return f"import sys\nsys.path.{places}\nfrom {module} import {name}\n{name}(*{arguments!r})"


def likeness() -> dict[str, Any]:
    """Describe this process, in types that JSON has.

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
    """Leave the working folder for a while where a test has removed it: multiprocessing asks for its name, and no new
    interpreter can import torch there (MKL). Ranks enter it later."""
    here = os.open(os.curdir, os.O_RDONLY)
    try:
        if not os.fstat(here).st_nlink:
            os.chdir(os.sep)
        yield
    finally:
        os.fchdir(here)
        os.close(here)


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Look for garbage seldom while the block imports modules, unless one of them sets how often itself. Later
    collections leave their objects out, as in a zygote."""
    before = gc.get_threshold()
    gc.set_threshold(seldom := before[0] * _SELDOM, *before[1:])
    try:
        yield
    finally:
        if gc.get_threshold()[0] == seldom:
            gc.set_threshold(*before)
        gc.freeze()


def become_alike(likeness: dict[str, Any]) -> None:
    """Make this new interpreter like the process that `likeness` describes."""
    if likeness["rewrites_asserts"]:
        with suppress(Exception):  # private parts of pytest: where they have changed, failures say less
            config = importlib.import_module("_pytest.config").get_config()
            importlib.import_module("_pytest.assertion").install_importhook(config)
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
    """Make multiprocessing say whose child this process is, and its name, as it does in its own children and as
    upstream's ranks have it. Test files ask for these to learn whether they run in a rank."""
    multiprocessing.current_process().name = f"process {rank}"
    if multiprocessing.parent_process() is None and hasattr(os, "pidfd_open"):
        with suppress(OSError):  # the parent has ended
            end = os.pidfd_open(parent)
            process._parent_process = process._ParentProcess("MainProcess", parent, end)  # type: ignore[attr-defined]


def import_module(name: str, file: str | None) -> ModuleType:
    """Return the module of this name in the test process, imported by name or else from its file.

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


def supervise(orders: int, controller_pid: int, interpreter: Sequence[str]) -> NoReturn:
    """Run the supervisor in this process until the controller closes its end of the socket, whose other end is
    `orders`. Ranks are started by the command `interpreter` (see `interpreter_command`)."""

    def execute_rank(job: RankJob, descriptors: Sequence[int], supervisor_pid: int) -> NoReturn:
        os.setpgid(0, 0)
        signal_on_parent_death(supervisor_pid, signal.SIGKILL)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, True)
        program = program_that_calls(become_rank, job.to_json(), descriptors, supervisor_pid)
        environment = {**os.environ, "TMPDIR": str(job.folder.temporary)}  # for files that its module's imports make
        os.execve(interpreter[0], [*interpreter, program], environment)

    RankServer(socket.socket(fileno=orders), controller_pid, execute_rank).run()
    os._exit(0)


def become_rank(job_json: str, descriptors: Sequence[int], supervisor_pid: int) -> NoReturn:
    """Import the test's main module in this interpreter, as multiprocessing does, and carry out the job."""
    job = RankJob.from_json(job_json)
    become_child(job.controller_pid, job.rank)
    with _seldom_collecting():
        become_alike(json.loads(job.folder.preparation.read_text()))
        from torch_testing_shim._engine.rank_main import run_rank  # here, since it imports torch

    run_rank(job, descriptors, supervisor_pid)


def is_importing_main() -> bool:
    """Whether this process is a rank that imports its main module, which must not run the tests there."""
    return getattr(multiprocessing.current_process(), "_inheriting", False)


def become_fork_server(orders: int, controller_pid: int, order: str) -> NoReturn:
    """Become like the test process, as the file `order` says, and then a zygote, until the controller closes its end
    of the socket, whose other end is `orders`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the controller handles the terminal's Ctrl-C
    signal_on_parent_death(controller_pid, signal.SIGKILL)
    likeness = json.loads(Path(order).read_text())
    with _seldom_collecting():
        become_alike(likeness)
        from torch_testing_shim._engine.zygote_main import serve  # here, since it imports torch

    serve(socket.socket(fileno=orders), controller_pid, likeness["preload"], _prepare_for)


def _prepare_for(job: RankJob) -> None:
    """Import the module of a rank's test, and has its class do what all ranks would do by `_prepare_server`. Raises
    OSError where this process must not be forked any more, since the module has started a driver."""
    with suppress(Exception, SystemExit):  # the rank will try again, and report it
        test_class = getattr(import_module(job.module, job.module_file), job.class_name, None)
        getattr(test_class, "_prepare_server", lambda job: None)(job)
    from torch_testing_shim._engine.devices import DeviceError, fork_hazard
    from torch_testing_shim._shared.settings import SettingsError

    with suppress(DeviceError, SettingsError):
        if (hazard := fork_hazard()) is not None:
            raise OSError(hazard)
    gc.freeze()  # as the zygote does
