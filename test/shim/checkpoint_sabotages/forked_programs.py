"""Programs that a sabotaged test starts, forked from a process that has imported torch: the import would take each of
them longer than what it does."""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from multiprocessing import forkserver, util
from typing import Any
from unittest import mock

import torch.multiprocessing


@contextlib.contextmanager
def forked_where_spawned() -> Iterator[None]:
    """Fork the processes that multiprocessing is asked to spawn: from a fork of this process, made now.

    That is Python's own server of forks, which is an interpreter started anew where nothing is changed. It ends with
    this process and those that it has forked.
    """
    original = util.spawnv_passfds

    def fork_server(path: Any, words: Sequence[Any], descriptors: Sequence[int]) -> int:
        if "forkserver" not in words[-1]:
            return original(path, words, descriptors)
        if pid := os.fork():
            return pid
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in map(int, os.listdir("/proc/self/fd")):
            if number > 2 and number not in descriptors:  # the pipe among them by whose end the server ends
                os.dup2(nothing, number)  # no file gets the number, which something here may close later
        _end_after(lambda: exec(words[-1], {}))

    server = forkserver._forkserver
    server.set_forkserver_preload([])
    with mock.patch.object(util, "spawnv_passfds", fork_server):
        server.ensure_running()
    context = torch.multiprocessing.get_context("forkserver")
    with mock.patch.object(torch.multiprocessing, "get_context", lambda method: context):
        yield


class ForkedProgram:
    """`python -m MODULE ARGUMENTS` in a fork of this process, with the methods of `subprocess.Popen` that tests use.

    It runs in the context that `strike` makes.

    Attributes:
        returncode: as Popen's.
    """

    def __init__(
        self, command: Sequence[str], cwd: str, *, strike: Callable[[], AbstractContextManager[Any]], **_: Any
    ) -> None:
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by `communicate`
        self.returncode: int | None = None
        self._pid = os.fork()
        if self._pid:
            return
        for number in (1, 2):
            os.dup2(self._output.fileno(), number)
        os.chdir(cwd)
        sys.argv = list(command[2:])
        strike().__enter__()  # for as long as the fork lives
        _end_after(lambda: runpy.run_module(command[2], run_name="__main__"))

    def communicate(self, timeout: float) -> tuple[str, None]:
        _, status = os.waitpid(self._pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        self._output.seek(0)
        with self._output:
            return self._output.read(), None

    def kill(self) -> None:
        """It has ended: the test kills it once it has waited for it."""

    wait = kill


def _end_after(program: Any) -> Any:
    """Run a program in this fork, and leave without what the process that it was forked from does at its end."""
    code = 1
    try:
        program()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
