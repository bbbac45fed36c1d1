"""From a fork of the warm interpreter to what `python FILE ARGUMENTS` would be, or `python -m torch_testing_shim FILE`.

The process gets the descriptors, environment, command line and import path that a new interpreter would have, and runs
the file as a new `__main__`. Exceptions, exit codes, threads, `atexit` and finalizers work as usual.
"""

from __future__ import annotations

import atexit
import builtins
import ctypes
import gc
import io
import os
import sys
import sysconfig
import tempfile
import threading
import types
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from typing import Any, NoReturn

from torch_testing_shim._engine.threads import thread_count
from torch_testing_shim._runner.process.command import EMPTY_MARK, MARK_VARIABLE, FileCommand
from torch_testing_shim._shared.exit_status import exit_code_of

#: The place of the environment's address among the fields of /proc/<pid>/stat that follow the command's name (Linux).
_ENV_START = 47
_REMOVE_FOLDER = tempfile.TemporaryDirectory._cleanup  # type: ignore[attr-defined]


def become(command: FileCommand, environment: Mapping[str, str], output: int) -> None:
    """Give this process, a fresh fork, the state of a new interpreter.

    Args:
        environment: its whole environment.
        output: the descriptor for standard output and error; it is closed.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor, name in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, name)
    for descriptor in (nothing, output):
        os.close(descriptor)
    _mark(environment[MARK_VARIABLE])
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # tempfile reads TMPDIR anew
    sys.argv = [command.path, *command.arguments] if command.harness is None else [*command.argv[1:]]
    sys.orig_argv = [*command.words]
    if not getattr(sys.flags, "safe_path", False):
        here = os.getcwd() if command.is_by_pytest else os.path.dirname(os.path.realpath(command.path))
        sys.path.insert(0, here)
    generator = sys.modules.get("numpy.random")
    if generator is not None:  # a new interpreter would have its own seed; Python's generator reseeds at each fork
        generator.seed()


def run_script(command: FileCommand) -> NoReturn:
    """Run the command's file as `__main__` and end as Python does; called where nothing is left to do but to return.

    Raises:
        SystemExit: at the file's end, its own or after its exception was reported.
        KeyboardInterrupt: it was interrupted, which has been reported.
    """
    run_main(lambda: _execute(command))


def run_main(main: Callable[[], object]) -> NoReturn:
    """The same for code that `main` runs as `__main__`."""
    _keep_folders()
    libraries, modules, finalizers = _shared_libraries(), set(sys.modules), _finalizers()
    failure: BaseException | None = None
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = 0 if end.code is None else end.code
    except BaseException as error:
        failure = error
    if failure is not None:  # reported out here, since no exception is handled any more where Python reports one
        traceback = _below_this_file(failure.__traceback__)
        sys.excepthook(type(failure), failure.with_traceback(traceback), traceback)
        if isinstance(failure, KeyboardInterrupt):  # Python ends itself by the signal, once it has tidied up
            sys.excepthook = lambda *_: None
            raise failure
        failure, code = None, 1
        del traceback
    if isinstance(code, int):
        _end_without_torch(exit_code_of(SystemExit(code)), libraries, modules, finalizers)
    raise SystemExit(code)


def _execute(command: FileCommand) -> None:
    main = _new_main(command.path)
    if command.harness is None:
        with io.open_code(command.path) as stream:
            code = compile(stream.read(), command.path, "exec", dont_inherit=True)
    else:
        from torch_testing_shim._program.upstream_file import become_file  # imports torch, which others may do without

        code = become_file(vars(main))
    exec(code, vars(main))


def _end_without_torch(
    code: int, libraries: frozenset[str], modules: set[str], finalizers: Sequence[weakref.finalize[..., Any]]
) -> None:
    """End the process as Python does, but without torch's own tear-down, which takes longer than a small test.

    It returns, and leaves the end to Python, where the file may need that tear-down or has its own: where threads still
    run, an accelerator's driver is loaded, or a shared library has been loaded.

    Args:
        code: the exit status.
        libraries: the shared libraries that were loaded before the file ran.
        modules: the modules that were imported then.
        finalizers: the finalizers that were registered then: one for each library of operators, which removes it.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    torch_finalizers = [one for one in map(weakref.finalize.detach, finalizers) if one is not None]
    atexit._run_exitfuncs()
    if thread_count() > 1 or _shared_libraries() - libraries or _has_accelerator():
        for _, finalize, arguments, keywords in torch_finalizers:
            finalize(*arguments, **keywords)
        return
    for name in [*(name for name in sys.modules if name not in modules), "__main__"]:
        del sys.modules[name]
    gc.collect()  # finalize objects of the file
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # the file may have closed it
            stream.flush()
    os._exit(code)


def _keep_folders() -> None:
    """Leave the temporary folders of imported modules to the runner: the first fork to end would remove them for all
    (`torch.distributed.nn.jit.instantiator` has one)."""
    for finalizer in _finalizers():
        if (alive := finalizer.peek()) is not None and alive[1] == _REMOVE_FOLDER:
            finalizer.detach()


def _finalizers() -> list[weakref.finalize[..., Any]]:
    """The registered finalizers, in no order."""
    return list(weakref.finalize._registry)  # type: ignore[attr-defined]


def _has_accelerator() -> bool:
    if "torch" not in sys.modules:
        return False
    from torch_testing_shim._engine.driver import initialized_accelerator

    return initialized_accelerator() is not None


def _shared_libraries() -> frozenset[str]:
    """The shared libraries in this process, without Python's own."""
    with open("/proc/self/maps") as maps:
        paths = {line.split(maxsplit=5)[-1].rstrip("\n") for line in maps if ".so" in line}
    own = sysconfig.get_path("stdlib") + "/lib-dynload/"
    return frozenset(path for path in paths if not path.startswith(own))


def _new_main(path: str) -> types.ModuleType:
    main = types.ModuleType("__main__")
    vars(main).update(
        __annotations__={},
        __builtins__=builtins,
        __cached__=None,
        __file__=path,
        __loader__=SourceFileLoader("__main__", path),
    )
    sys.modules["__main__"] = main
    return main


def _below_this_file(traceback: types.TracebackType | None) -> types.TracebackType | None:
    """The traceback from the test file's own frame on."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    return traceback


def _mark(mark: str) -> None:
    """Write the mark over the one that this process started with, in the memory that the system shows to others as the
    environment: a variable that a fork sets does not show there, and its children are forks too."""
    name = f"{MARK_VARIABLE}=".encode("ascii")
    try:
        with open("/proc/self/environ", "rb") as environ, open("/proc/self/stat") as stat:
            before, found, _ = environ.read().partition(name)
            begin = int(stat.read().rpartition(")")[2].split()[_ENV_START])
    except (OSError, IndexError):  # there is no /proc, and nothing is shown
        return
    address = begin + len(before) + len(name)
    if found and begin and len(mark) == len(EMPTY_MARK) == len(ctypes.string_at(address)):
        ctypes.memmove(address, mark.encode("ascii"), len(mark))
