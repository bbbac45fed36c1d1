"""The controller's handle on its zygote: the pristine process that ranks are forked from (see `zygote_main`)."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

from torch_testing_shim._engine.keeper_link import ForkRefusedError, KeeperLink
from torch_testing_shim._engine.process_state import ProcessState
from torch_testing_shim._engine.threads import fork_quietly, python_thread_count, thread_count_after_fork
from torch_testing_shim._engine.zygote_main import serve

__all__ = ["Zygote"]


class Zygote(KeeperLink):
    """A running zygote."""

    _name = "the process that ranks are forked from"

    def __init__(self, pid: int, orders: socket.socket, state: ProcessState) -> None:
        super().__init__(pid, orders, state.as_ranks_start())
        self._modules = frozenset(sys.modules)

    def can_have(self, module: str) -> bool:
        """Whether the module of this name was imported when the zygote was forked."""
        return module in self._modules

    @classmethod
    def start(cls, preload: Sequence[str] = ()) -> Zygote:
        """Forks a zygote from this process.

        Threads that their library ends before a fork (OpenBLAS does) are no hazard; those that live on across it
        are, since they may have held locks. So they are counted after the fork, when the first kind is gone.

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
        state = ProcessState.of_this_process()
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
