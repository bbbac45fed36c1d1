"""Samples forked from a server that has imported torch: the import takes a new interpreter longer than most samples.

    test process --words, folder, environment, descriptors--> sample_server --fork--> python WORDS
              |<-------------- process id, exit status -------------'                      |
              '<-------------------------------- output -----------------------------------'

Where the runner has started the test file, the server is a fork of it, made while the file is still being imported;
elsewhere it is a new interpreter.

A sample is a process of its own, with the session, environment, command line and import path that a new interpreter
would have; test_warm_samples.py compares them. Where the start of an interpreter is what a test is about, or what is
imported then, its samples are cold.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from torch_testing_shim._engine.threads import thread_count
from torch_testing_shim._runner.process.command import EMPTY_MARK, MARK_VARIABLE
from torch_testing_shim._shared.huge_pages import environment_for_huge_pages
from torch_testing_shim._shared.parent_death import die_with_this_process, signal_on_parent_death

#: The longest order, in bytes: most of it is the sample's environment.
ORDER_BYTES = 1 << 17
#: The bytes of a process id or an exit status.
NUMBER_BYTES = 4
#: Variables that Python, the loader of libraries, or an import reads: a fork cannot have others than the server.
READ_AT_START = ("PYTHON", "LD_", "GLIBC_", "OMP_", "MKL_", "OPENBLAS_", "CUDA_", "QUARTZ_", "TORCH_", "PYTORCH_")
#: Variables that are read when they are needed: CUDA's driver is not started in the server.
READ_LATER = ("TORCH_TESTING_SHIM_", "CUDA_VISIBLE_DEVICES")


def encode(number: int) -> bytes:
    return number.to_bytes(NUMBER_BYTES, "big", signed=True)


class WarmSample:
    """A running sample, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, output: int, status: int) -> None:
        self._output = output
        self._status = status
        self.returncode: int | None = None  # as Popen's
        self.pid = self._number()  # its process id

    def poll(self) -> int | None:
        return self._look(0.0)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 600.0) -> tuple[str, None]:
        """Wait until it has ended and nobody can write to its output any more; return that."""
        deadline = time.monotonic() + timeout
        chunks = []
        while _readable(self._output, deadline - time.monotonic()):
            chunk = os.read(self._output, 1 << 16)
            if not chunk:
                break
            chunks.append(chunk)
        if self._look(deadline - time.monotonic()) is None:
            raise subprocess.TimeoutExpired("sample", timeout)
        os.close(self._output)
        return b"".join(chunks).decode().replace("\r\n", "\n"), None

    def _look(self, seconds: float) -> int | None:
        if self.returncode is None and _readable(self._status, seconds):
            self.returncode = self._number()
            os.close(self._status)
        return self.returncode

    def _number(self) -> int:
        number = os.read(self._status, NUMBER_BYTES)
        assert number, "the server of samples has ended"
        return int.from_bytes(number, "big", signed=True)


def _readable(descriptor: int, seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], max(seconds, 0.0))[0])


class _ServerFork(BaseException):
    """Takes a fork of a test process out of the test file, so that none of its frames stands below a sample's."""


class SampleServer:
    """The server of this process, and its end of the socket."""

    def __init__(self, environment: Mapping[str, str], *, is_forked: bool = False) -> None:
        self.environment = {**environment, "TMPDIR": tempfile.gettempdir(), MARK_VARIABLE: EMPTY_MARK}
        self._process: subprocess.Popen[bytes] | None = None
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._pid = self._fork(theirs) if is_forked else self._start(theirs)
        self._is_open = True
        atexit.register(self._close, os.getpid())

    def _start(self, theirs: socket.socket) -> int:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("sample_server.py")), str(theirs.fileno())],
            env=environment_for_huge_pages(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # as the samples have; nothing is printed
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_this_process(),
            pass_fds=[theirs.fileno()],
        )
        self._process = process
        return process.pid

    def _fork(self, theirs: socket.socket) -> int:
        parent = os.getpid()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        pid = os.fork()
        if pid:
            return pid
        signal_on_parent_death(parent, signal.SIGKILL)
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        _, printed = os.pipe()  # as the samples have; nothing is printed
        for name, old in (("stdout", sys.stdout), ("stderr", sys.stderr)):
            os.dup2(printed, old.fileno())
            stream = open(old.fileno(), "w", encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115
            stream.reconfigure(line_buffering=old.line_buffering)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        for number in map(int, os.listdir("/proc/self/fd")):
            if number > 2 and number != theirs.fileno():
                with suppress(OSError):  # the listing's own
                    os.close(number)
        orders = socket.socket(fileno=theirs.detach())
        from sample_server import main_in_fork  # here, since it imports what samples do

        sys.excepthook = lambda *_: main_in_fork(orders)
        raise _ServerFork

    def can_start(self, words: Sequence[str], environment: Mapping[str, str]) -> bool:
        """Whether a fork of the server is as good as a new interpreter."""
        names = {*self.environment, *environment}
        early = [name for name in names if name.startswith(READ_AT_START) and not name.startswith(READ_LATER)]
        is_file = words[0].endswith(".py") and Path(words[0]).name != "run_test.py"  # which imports no torch
        return (is_file or words[0] == "-m") and all(
            self.environment.get(name) == environment.get(name) for name in early
        )

    def start(self, words: Sequence[str], folder: Path, environment: Mapping[str, str], mark: str) -> WarmSample:
        """Start `python WORDS`.

        Args:
            words: "-m" and a module, or a file, and its arguments.
            folder: its working folder.
            environment: its whole environment.
            mark: 32 characters, which its forks have as MARK_VARIABLE in the environment that the system shows.
        """
        order = {"words": [*words], "folder": str(folder), "environment": {**environment, MARK_VARIABLE: mark}}
        (output, printed), (status, reported) = os.pipe(), os.pipe()
        socket.send_fds(self._orders, [json.dumps(order).encode()], [printed, reported])
        os.close(printed)
        os.close(reported)
        return WarmSample(output, status)

    def close(self) -> None:
        """End it; at the latest, the end of this process does."""
        self._close(os.getpid())

    def _close(self, owner: int) -> None:
        if os.getpid() == owner and self._is_open:  # not in a rank that was forked from it
            self._is_open = False
            self._orders.close()
            os.kill(self._pid, signal.SIGKILL)
            if self._process is None:
                os.waitpid(self._pid, 0)
            else:
                self._process.wait()


_servers: dict[int, SampleServer] = {}  # by the process that it belongs to: a forked rank has none


def fork_server(environment: Mapping[str, str]) -> None:
    """Fork this process's server, if it is a test file that the runner has started and that is still being imported: it
    has imported torch, which takes a new interpreter longer than most samples."""
    main = Path(getattr(sys.modules["__main__"], "__file__", None) or "")
    is_of_runner = main.name.startswith("test_") and MARK_VARIABLE in os.environ
    if is_of_runner and os.getpid() not in _servers and thread_count() == 1:
        _servers[os.getpid()] = SampleServer(environment, is_forked=True)


def sample_server(environment: Mapping[str, str]) -> SampleServer:
    """This process's server, started in this environment at the first call."""
    if os.getpid() not in _servers:
        _servers[os.getpid()] = SampleServer(environment)
    return _servers[os.getpid()]
