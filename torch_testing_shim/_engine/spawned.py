"""Ranks as new interpreters: the way where forking the test process is not safe or not there.

The controller starts a supervisor, a small interpreter without torch, and that one starts the ranks; it is their keeper
(see `keeper`), as the zygote is for forked ones. A rank finds what it needs to become like the test process in a file
(see `likeness`).

    controller --orders, channels--> supervisor --fork, exec--> rank 0 ... rank N-1
"""

from __future__ import annotations

import json
import os
import socket
import subprocess

from torch_testing_shim._engine.job import ScratchFolder
from torch_testing_shim._engine.keeper_link import KeeperLink
from torch_testing_shim._engine.likeness import likeness
from torch_testing_shim._engine.new_interpreter import interpreter_command, program_with_package

__all__ = ["InterpreterLink", "Supervisor", "start_interpreter"]

_PROGRAM = """
from torch_testing_shim._engine.spawned_main import supervise
supervise({orders}, {controller}, {command!r})
"""


def start_interpreter(
    program: str, output: int | None = None, **values: object
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Starts a new interpreter that is to be a keeper; returns its process and this one's end of the socket.

    Args:
        program: what it runs; `orders` stands for the descriptor of its end, `controller` for this process's id.
        output: where it prints to, as `subprocess` takes it; by default where this process does.
        values: what stands for the program's other names.

    Raises:
        OSError: the system has no more processes or descriptors to give.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    text = program_with_package(program.format(orders=theirs.fileno(), controller=os.getpid(), **values))
    with theirs:
        try:
            command = [*interpreter_command(), text]
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=[theirs.fileno()]
            )
            return process, ours
        except BaseException:
            ours.close()
            raise


class InterpreterLink(KeeperLink):
    """A running keeper that is a new interpreter."""

    def __init__(self, process: subprocess.Popen[bytes], orders: socket.socket) -> None:
        super().__init__(process.pid, orders)
        self._process = process

    def close(self) -> None:
        """Ends it, every rank and all that ranks have left."""
        super().close()
        self._process.wait()


class Supervisor(InterpreterLink):
    """The running supervisor of one test's ranks: a new one for each test, since it hands on the environment and the
    working folder that the test process has now."""

    _name = "the process that started the ranks"

    @classmethod
    def start(cls, folder: ScratchFolder) -> Supervisor:
        """Starts a supervisor.

        Args:
            folder: the test's scratch folder.

        Raises:
            OSError: the system has no more processes or descriptors to give.
            RuntimeError: this process is itself a rank that imports its main module.
        """
        folder.preparation.write_text(json.dumps(likeness()))
        return cls(*start_interpreter(_PROGRAM, command=interpreter_command()))
