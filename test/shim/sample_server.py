"""The server that samples are forked from: an interpreter that has imported what they import, and does nothing else.

It runs no sample itself and starts no thread. `warm_samples` is its client, and has the diagram.
"""

from __future__ import annotations

import json
import os
import runpy
import selectors
import signal
import socket
import sys
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from usual_signals import take_usual_signals
from warm_samples import ORDER_BYTES, encode

import torch_testing_shim.distributed._tensor.common_dtensor
import torch_testing_shim.distributed.checkpoint_utils  # noqa: F401
from torch_testing_shim._runner.process.command import MARK_VARIABLE, FileCommand
from torch_testing_shim._runner.warm.interpreter import Ahead, Spoiled
from torch_testing_shim._runner.warm.script import become, run_main, run_script
from torch_testing_shim._runner.warm.source import read_source

ROOT = Path(__file__).resolve().parents[2]


def serve(orders: socket.socket, ahead: Ahead) -> list[str]:
    """Start samples and report their exit statuses until the client is gone. Return in the forks alone: the words
    behind `python`."""
    running = selectors.DefaultSelector()
    running.register(orders, selectors.EVENT_READ)
    while True:
        for key, _ in running.select():
            if key.fileobj is not orders:
                running.unregister(key.fileobj)
                _report(key.fd, *key.data)
                continue
            packet, descriptors, _, _ = socket.recv_fds(orders, ORDER_BYTES, 2)
            if not packet:
                os._exit(0)
            output, status = descriptors
            order = json.loads(packet)
            _import_ahead(ahead, order["folder"], order["words"])
            pid = os.fork()
            if not pid:
                _forget(running, orders, status)
                return _become_sample(output, **order)
            os.close(output)
            os.write(status, encode(pid))
            running.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))


def _import_ahead(ahead: Ahead, folder: str, words: Sequence[str]) -> None:
    """Import what the sample would import, as the runner's warm interpreter does."""
    path = next((word for word in words if word.endswith(".py")), "")
    with suppress(OSError, Spoiled), open(os.path.join(folder, path), "rb") as stream:
        source = read_source(stream.read())
        if not source.prepares_imports:
            own = [name for name in source.imports if not name.startswith("torch.testing.")]  # others are redirected
            ahead.import_for(own, source.names)


def _report(ended: int, pid: int, status: int) -> None:
    _, code = os.waitpid(pid, 0)
    os.write(status, encode(os.waitstatus_to_exitcode(code)))
    os.close(status)
    os.close(ended)


def _forget(running: selectors.BaseSelector, orders: socket.socket, status: int) -> None:
    """In a fork: close the server's descriptors."""
    for key in running.get_map().values():
        if key.fileobj is not orders:
            os.close(key.fd)
            os.close(key.data[1])
    running.close()
    orders.close()
    os.close(status)


def _become_sample(output: int, words: list[str], folder: str, environment: Mapping[str, str]) -> list[str]:
    """In a fork: take the state of a new interpreter."""
    os.setsid()
    take_usual_signals()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    # `-m` puts the working folder in front of the import path, a file its own
    path, *arguments = [f"{folder}/-m", *words[2:]] if words[0] == "-m" else words
    become(FileCommand("sample", path, tuple(arguments)), environment, output)
    os.environ.pop(MARK_VARIABLE)  # it stays where others look for it
    sys.orig_argv = [sys.executable, *words]
    return words


def main(orders: socket.socket) -> None:
    """Serve samples; returns in none of them but by their ends."""
    ahead = Ahead()
    ahead.import_for((), ())
    words = serve(orders, ahead)
    if words[0] == "-m":
        sys.modules["__main__"] = types.ModuleType("__main__")
        run_main(lambda: runpy._run_module_as_main(words[1]))  # type: ignore[attr-defined]  # as `python -m` calls it
    else:
        run_script(FileCommand("sample", os.path.abspath(words[0])))


def main_in_fork(orders: socket.socket) -> None:
    """The same in a fork of a test process that has imported its modules and no more: it forgets what is the test's."""
    sys.excepthook = sys.__excepthook__
    tests = str(ROOT / "test") + os.sep
    for name, module in [*sys.modules.items()]:
        if (getattr(module, "__file__", None) or "").startswith(tests):
            del sys.modules[name]
    sys.modules["__main__"] = types.ModuleType("__main__")
    kept = [folder for folder in sys.path if folder != str(ROOT) and not f"{folder}{os.sep}".startswith(tests)]
    sys.path[:] = [str(ROOT), *kept]
    main(orders)


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if folder != here]
    main(socket.socket(fileno=int(sys.argv[1])))
