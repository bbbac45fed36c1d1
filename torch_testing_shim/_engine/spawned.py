"""Ranks as new interpreters: the way where forking the test process is not safe or not there.

The controller starts a supervisor, a small interpreter without torch, and that one starts the ranks; it is their keeper
(see `keeper`), as the zygote is for forked ones. A rank finds what it needs to become like the test process in a file
(see `spawned_main`), made by multiprocessing as for its own children.

    controller --orders, channels--> supervisor --fork, exec--> rank 0 ... rank N-1
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from multiprocessing import spawn

from torch_testing_shim._engine.job import ScratchFolder
from torch_testing_shim._engine.keeper_link import KeeperLink
from torch_testing_shim._engine.new_interpreter import interpreter_command, program_with_package

__all__ = ["Supervisor"]

_PROGRAM = """
from torch_testing_shim._engine.spawned_main import supervise
supervise({orders}, {controller}, {command!r})
"""


class Supervisor(KeeperLink):
    """The running supervisor of one test's ranks: a new one for each test, since it hands on the environment and the
    working folder that the test process has now."""

    _name = "the process that started the ranks"

    def __init__(self, process: subprocess.Popen[bytes], orders: socket.socket) -> None:
        super().__init__(process.pid, orders)
        self._process = process

    @classmethod
    def start(cls, folder: ScratchFolder) -> Supervisor:
        """Starts a supervisor.

        Args:
            folder: the test's scratch folder.

        Raises:
            OSError: the system has no more processes or descriptors to give.
            RuntimeError: this process is itself a rank that imports its main module.
        """
        preparation = spawn.get_preparation_data("rank")
        preparation.pop("authkey")  # each rank has its own
        folder.preparation.write_text(json.dumps(preparation))
        command = interpreter_command()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = program_with_package(_PROGRAM.format(orders=theirs.fileno(), controller=os.getpid(), command=command))
        with theirs:
            try:
                process = subprocess.Popen([*command, program], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
            except BaseException:
                ours.close()
                raise
        return cls(process, ours)

    def close(self) -> None:
        """Ends the supervisor, every rank and all that ranks have left."""
        super().close()
        self._process.wait()
