"""The warm interpreter's own code: take requests from the runner, import ahead, fork.

It stays pristine: it runs no test, starts no thread and touches no accelerator, so that a fork of it starts like a new
interpreter that has done its imports. It checks its threads before each fork, and refuses where there are any. It may
import torch and all of torch_testing_shim, but of the runner only `process.command`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from torch_testing_shim._engine.preload import modules_to_preload
from torch_testing_shim._engine.threads import lasting_thread_count, thread_count
from torch_testing_shim._runner.process.command import PACKET_BYTES, FileCommand, read_command
from torch_testing_shim._runner.warm.script import become, run_script
from torch_testing_shim._runner.warm.source import FileSource, preparing_conftest, read_source
from torch_testing_shim._shared.huge_pages import use_huge_pages
from torch_testing_shim._shared.main_part import PACKAGE
from torch_testing_shim._shared.parent_death import signal_on_parent_death


class Refusal(Exception):
    """A file cannot be run from this interpreter; the message says why in one line."""


class Spoiled(Exception):
    """Importing `module` has left this interpreter unfit for every file; the message says why in one line."""

    def __init__(self, module: str, deed: str) -> None:
        super().__init__(f"importing {module} {deed}")
        self.module = module


def main(arguments: Sequence[str]) -> NoReturn:
    """Run the interpreter until the runner closes its end; run a test file in each fork.

    Args:
        arguments: the descriptor of this end of the socket, the runner's process id, and modules to import.
    """
    descriptor, runner_pid, *modules = arguments
    gc.disable()  # objects of modules stay alive, and would be looked through again and again
    for module in modules:
        importlib.import_module(module)
    gc.enable()
    interpreter = _Interpreter(socket.socket(fileno=int(descriptor)), int(runner_pid))
    run_script(interpreter.serve())


class Ahead:
    """The modules that this process has imported for its forks."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._settle()

    def import_for(self, imports: Sequence[str], names: Iterable[str]) -> None:
        """Import new modules; a module that cannot be imported is left to the file, which reports it.

        Args:
            imports: modules that a file imports.
            names: the names that its code uses.

        Raises:
            Spoiled: one of the modules has done more than an import should.
        """
        known = len(sys.modules)
        _import_each(name for name in imports if name not in self._known)
        self._known.update(imports)
        _import_each(modules_to_preload(names, sys.modules))
        if len(sys.modules) != known:
            self._settle()

    def _settle(self) -> None:
        """Make this process ready to be forked after imports: objects are frozen, so that the collector of a fork does
        not copy their pages."""
        gc.collect()
        gc.freeze()
        use_huge_pages()


class _Interpreter:
    def __init__(self, requests: socket.socket, runner_pid: int) -> None:
        self._requests = requests
        self._runner_pid = runner_pid
        self._ahead = Ahead()

    def serve(self) -> FileCommand:
        """Take requests until the runner is gone. Return in the forks alone: each its command."""
        self._tell({"event": "ready", "devices": _device_count()})
        while True:
            packet, descriptors = b"", list[int]()
            with suppress(ConnectionError):
                packet, descriptors, _, _ = socket.recv_fds(self._requests, PACKET_BYTES, 1)
            if not packet:
                os._exit(0)
            request = json.loads(packet)
            command = self._take(request, descriptors[0])
            if command is not None:
                return command
            os.close(descriptors[0])

    def _take(self, request: Mapping[str, Any], output: int) -> FileCommand | None:
        """Start one file; returns its command in the file's own process, None in this one."""
        number: int = request["id"]
        try:
            command, environment = read_command(request["order"])
            self._prepare(command, request["avoid"])
            between = os.fork()
        except (OSError, Refusal) as error:
            self._tell({"event": "refused", "id": number, "reason": str(error)})
            return None
        except Spoiled as error:
            self._tell({"event": "spoiled", "id": number, "module": error.module, "reason": str(error)})
            os._exit(0)
        if between:
            os.waitpid(between, 0)
            return None
        self._fork_again(number)
        become(command, environment, output)
        self._tell({"event": "started", "id": number, "pid": os.getpid()})
        self._requests.close()
        return command

    def _fork_again(self, number: int) -> None:
        """In the process between: fork the file's process and end, so that the runner becomes its parent."""
        between = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell({"event": "refused", "id": number, "reason": str(error)})
            os._exit(1)
        if pid:
            os._exit(0)
        while os.getppid() == between:
            time.sleep(0.0005)
        signal_on_parent_death(self._runner_pid, signal.SIGKILL)
        os.setsid()

    def _prepare(self, command: FileCommand, avoid: Mapping[str, str]) -> None:
        """Import ahead the modules that the file imports.

        Args:
            avoid: modules that have spoiled another interpreter, with the reasons.

        Raises:
            Refusal: the file would get other modules from a new interpreter, or in another state.
            Spoiled: one of the modules has done more than an import should.
        """
        with open(command.path, "rb") as stream:
            source = read_source(stream.read())
        if source.prepares_imports:
            raise Refusal("it changes its environment before it imports torch")
        if command.is_by_pytest and (conftest := preparing_conftest(command.path)) is not None:
            raise Refusal(f"{conftest} changes its environment")
        folders = [os.path.dirname(os.path.realpath(command.path)), *([os.getcwd()] if command.is_by_pytest else [])]
        beside = {name for folder in folders for name in _modules_in(folder)}
        shadowed = sorted(beside & {name.split(".")[0] for name in sys.modules})
        if shadowed:
            raise Refusal(f"{shadowed[0]!r} beside it would take the place of a module that is imported already")
        imports = source.imports if command.harness is None else _served_imports(source, command)
        if spoiling := [name for name in imports if name in avoid]:
            raise Refusal(avoid[spoiling[0]])
        self._ahead.import_for(imports, source.names)
        if (hazard := _ask_devices("fork_hazard")) is not None:  # the files' device cannot be used in a fork
            raise Refusal(hazard)
        threads = lasting_thread_count()
        if threads > 1:
            raise Refusal(f"{threads} threads run in the interpreter that files are forked from")

    def _tell(self, event: dict[str, object]) -> None:
        with suppress(OSError):  # the runner is gone, and the processes that were started for it die with it
            self._requests.send(json.dumps(event).encode("ascii"))


def _served_imports(source: FileSource, command: FileCommand) -> list[str]:
    """The imports of a file of PyTorch's, with modules of this package in place of PyTorch's harness, and the modules
    that serve these."""
    from torch_testing_shim._upstream.redirect import shim_module_of
    from torch_testing_shim._upstream.rewriting import UPSTREAM

    is_served = {name: name == UPSTREAM or name.startswith(f"{UPSTREAM}.") for name in source.imports}
    served = [shim_module_of(name) if is_served[name] else name for name in source.imports]
    modules = ["_program.upstream_file"]
    modules += ["_upstream.mapped_devices"] if "--map-device" in (command.harness or ()) else []
    modules += ["_program.upstream_pytest"] if command.is_by_pytest else []
    return [*(name for name in served if name is not None), *(f"{PACKAGE}.{name}" for name in modules)]


def _import_each(names: Iterable[str]) -> None:
    for name in names:
        above, _, last = name.rpartition(".")
        with suppress(Exception):
            if name not in sys.modules and not hasattr(sys.modules.get(above), last):  # which may import it
                importlib.import_module(name)
        if (deed := _lasting_deed()) is not None:
            raise Spoiled(name, deed)


def _lasting_deed() -> str | None:
    """Describe the change that an import has made to this process and its forks would notice; None for none."""
    if thread_count() > 1 and lasting_thread_count() > 1:
        return "starts a thread"
    # PyTorch's faulty_rpc_agent_test_fixture adds one; then `rpc.init_rpc` refuses its own default.
    if len(getattr(sys.modules.get("torch.distributed.rpc.backend_registry"), "BackendType", ())) > 1:
        return "registers a backend of RPC"
    return None


def _modules_in(folder: str) -> set[str]:
    """The names of modules and packages in a folder."""
    with os.scandir(folder) as entries:
        return {
            entry.name.removesuffix(".py")
            for entry in entries
            if entry.name.endswith(".py") or os.path.exists(os.path.join(entry.path, "__init__.py"))
        }


def _device_count() -> int:
    """The number of accelerators that the files will use; 0 where they run on the CPU."""
    device = _ask_devices("device_in_use")
    return 0 if device is None else int(device.count)


def _ask_devices(question: str) -> Any:
    """The answer of a function of the module `devices`; None where torch is not imported, and where the device or the
    settings are wrong, which each file reports itself."""
    if "torch" not in sys.modules:
        return None
    from torch_testing_shim._engine import devices
    from torch_testing_shim._shared.settings import SettingsError

    try:
        return getattr(devices, question)()
    except (devices.DeviceError, SettingsError):
        return None
