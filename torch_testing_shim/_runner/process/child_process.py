"""A child process that the runner waits for, started by itself or forked from the warm interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress

from torch_testing_shim._shared.parent_death import die_with_this_process


class ChildProcess:
    """A child of this process that leads a session."""

    def __init__(self, pid: int) -> None:
        self.pid = pid  # its process id
        #: None while it runs; then its exit status, or minus the number of the signal that ended it.
        self.exit_code: int | None = None
        #: Becomes readable when it ends; None from then on, and on systems without such descriptors.
        self.descriptor = _open_process(pid)

    def has_ended(self) -> bool:
        """Look without waiting, and collect the exit status."""
        if self.exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_code = os.waitstatus_to_exitcode(status)
                if self.descriptor is not None:
                    os.close(self.descriptor)
                    self.descriptor = None
        return self.exit_code is not None

    def signal(self, number: int) -> None:
        """Signal its process group, or the process alone where it has left its group."""
        if not self.has_ended():
            with suppress(ProcessLookupError):
                try:
                    os.killpg(self.pid, number)
                except ProcessLookupError:
                    os.kill(self.pid, number)


def _open_process(pid: int) -> int | None:
    if sys.platform == "linux":
        with suppress(OSError):  # a kernel before 5.3, or no more descriptors: its end is noticed a little later
            return os.pidfd_open(pid)
    return None


def start_child(
    arguments: Sequence[str], environment: Mapping[str, str], output: int, pass_fds: Sequence[int] = ()
) -> ChildProcess:
    """Start a program that leads a session, reads nothing, and dies with this process.

    Args:
        output: the descriptor that it prints to.
        pass_fds: further descriptors that it inherits.
    """
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=die_with_this_process(),
        env=dict(environment),
        pass_fds=pass_fds,
    )
    process.returncode = 0  # `ChildProcess` waits for it from here on; subprocess would warn that it still runs
    return ChildProcess(process.pid)


def reap_orphans(own: Container[int | None]) -> None:
    """Collect the ended children that this process did not start: orphans that it has adopted. Linux only.

    Args:
        own: the ids of the children that other code waits for; orphans behind one of these that has ended wait for it.
    """
    while sys.platform == "linux":
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in own:
            return
        os.waitpid(ended.si_pid, 0)
