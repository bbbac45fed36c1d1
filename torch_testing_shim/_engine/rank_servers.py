"""The three rank servers (see `rank_server`), as the controller starts them and holds them.

    controller --fork--> zygote       --fork-->       rank 0 ... rank N-1
               --exec--> fork server  --fork-->       rank 0 ... rank N-1
               --exec--> supervisor   --fork, exec--> rank 0 ... rank N-1

* The zygote is a copy of the test process, and pristine (see `zygote_main`).
* The fork server is a zygote that is a new interpreter. It is used where the test process cannot be forked: threads run
  in it, as pytest-xdist's do, or it uses an accelerator. It imports once what the test process has imported for its
  tests, and is pristine unless the test's module itself starts threads or a driver.
* The supervisor is a small interpreter without torch, whose ranks are new interpreters too. It is used where nothing
  may be forked.

New interpreters read from a file how to become like the test process (see `new_interpreter`).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence

from torch_testing_shim._engine.job import ScratchFolder
from torch_testing_shim._engine.new_interpreter import interpreter_command, likeness, program_with_package
from torch_testing_shim._engine.process_state import State, as_ranks_start, state_of_this_process
from torch_testing_shim._engine.rank_server_client import ForkRefusedError, RankServerClient
from torch_testing_shim._engine.threads import fork_quietly, python_thread_count, thread_count_after_fork
from torch_testing_shim._engine.zygote_main import serve

#: How long a fork server may take to import what a test needs and to fork its first rank, in seconds: torch is read
#: from a cold disk in less. An import that ends in the test process may never end there: it may wait for a lock that
#: the test process holds.
_START_SECONDS = 120.0

_FORK_SERVER = """
from torch_testing_shim._engine.new_interpreter_main import become_fork_server
become_fork_server({order!r}, {orders}, {controller})
"""
_SUPERVISOR = """
from torch_testing_shim._engine.new_interpreter_main import supervise
supervise({orders}, {controller}, {command!r})
"""


class ZygoteClient(RankServerClient):
    """The controller's handle on its zygote."""

    _name = "the process that ranks are forked from"

    def __init__(self, pid: int, orders: socket.socket, state: State) -> None:
        super().__init__(pid, orders, as_ranks_start(state))
        self._modules = frozenset(sys.modules)

    def can_have(self, module: str) -> bool:
        """Whether the module of this name was imported when the zygote was forked."""
        return module in self._modules

    @classmethod
    def start(cls, preload: Sequence[str] = ()) -> ZygoteClient:
        """Forks a zygote from this process.

        Threads that their library ends before a fork (OpenBLAS does) are no hazard; those that live on across it
        are, since they may have held locks. So they are counted after the fork, when the first kind is gone.

        Args:
            preload: modules that tests import lazily, to be imported ahead.

        Raises:
            ForkRefusedError: there is no fork here, or threads were running across it.
        """
        if sys.platform != "linux":
            raise ForkRefusedError(f"fork is not safe on {sys.platform}")
        _check_threads(python_thread_count())
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        controller_pid = os.getpid()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        state = state_of_this_process()
        pid = fork_quietly()
        if pid == 0:
            ours.close()
            serve(theirs, controller_pid, preload)
        theirs.close()
        zygote = cls(pid, ours, state)
        try:
            _check_threads(thread_count_after_fork())
        except ForkRefusedError:
            zygote.close()
            raise
        return zygote


def _check_threads(count: int) -> None:
    if count > 1:
        raise ForkRefusedError(f"{count} threads are running in the test process")


class _InterpreterClient(RankServerClient):
    """The controller's handle on a rank server that is a new interpreter."""

    def __init__(self, process: subprocess.Popen[bytes], orders: socket.socket) -> None:
        super().__init__(process.pid, orders)
        self._process = process

    def close(self) -> None:
        """Ends it, every rank and all that ranks have left."""
        super().close()
        self._process.wait()


class ForkServerClient(_InterpreterClient):
    """The controller's handle on its fork server, which may still be importing."""

    _name = "the interpreter that ranks are forked from"
    _patience = _START_SECONDS

    @classmethod
    def start(cls, folder: ScratchFolder, preload: Sequence[str]) -> ForkServerClient:
        """Starts a fork server.

        Args:
            folder: the scratch folder of the first test, which lasts until its ranks have started.
            preload: modules that tests import lazily, to be imported ahead.

        Raises:
            OSError: the system has no more processes or descriptors to give.
            RuntimeError: this process is itself a rank that imports its main module.
        """
        folder.preparation.write_text(json.dumps({**likeness(), "preload": list(preload)}))
        # Discard its output: the test process has already printed what its module prints when it is imported.
        return cls(*_start_interpreter(_FORK_SERVER, subprocess.DEVNULL, order=str(folder.preparation)))

    def can_have(self, module: str) -> bool:
        """True: it imports the module of each test for which it forks ranks."""
        return True


class SupervisorClient(_InterpreterClient):
    """The controller's handle on the supervisor of one test's ranks. Each test has a new one, since it hands on the
    environment and the working folder that the test process has now."""

    _name = "the process that started the ranks"

    @classmethod
    def start(cls, folder: ScratchFolder) -> SupervisorClient:
        """Starts a supervisor.

        Args:
            folder: the test's scratch folder.

        Raises:
            OSError: the system has no more processes or descriptors to give.
            RuntimeError: this process is itself a rank that imports its main module.
        """
        folder.preparation.write_text(json.dumps(likeness()))
        return cls(*_start_interpreter(_SUPERVISOR, command=interpreter_command()))


def _start_interpreter(
    program: str, output: int | None = None, **values: object
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Starts a new interpreter that becomes a rank server. Returns its process and this process's end of the socket.

    Args:
        program: the program; `orders` stands for the descriptor of its end, `controller` for this process's id.
        output: where it prints to, as `subprocess` takes it; by default where this process does.
        values: values of the program's other placeholders.

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
