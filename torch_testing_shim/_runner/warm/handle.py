"""The runner's handle on the warm interpreter that test files are forked from (see the folder's `__init__`)."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from torch_testing_shim._shared.huge_pages import environment_for_huge_pages
from torch_testing_shim._shared.launch import PART_VARIABLE
from torch_testing_shim._shared.parent_death import adopt_orphans

from ..process.child_process import ChildProcess, start_child
from ..process.command import (
    EMPTY_MARK,
    MARK_VARIABLE,
    PACKET_BYTES,
    FileCommand,
    own_interpreter,
    write_command,
)
from ..process.output_file import OutputFile

#: The modules that the interpreter imports before it is ready: those that nearly every test file imports.
PRELOAD = ("torch", "torch.distributed", "torch_testing_shim.common_utils", "torch_testing_shim.common_distributed")
#: The time in which it must be ready, or start a file, in seconds: torch is read from a cold disk in less.
START_SECONDS = 120.0

#: The interpreter's program. It drops the folder from its import path that `python FILE` would not have.
PROGRAM = """
import sys
sys.path[:] = [folder for folder in sys.path if folder]
from torch_testing_shim._runner.warm.interpreter import main
main(sys.argv[1:])
"""

#: As it is called in messages.
_INTERPRETER = "the interpreter that files are forked from"

#: Variables that differ from file to file, and are read when a test needs them, not when Python or torch starts.
PER_FILE = frozenset(
    {
        MARK_VARIABLE,
        "TORCH_TESTING_SHIM_JOURNAL",
        "TORCH_TESTING_SHIM_EXPECTATIONS",
        "TORCH_TESTING_SHIM_DEVICE_INDICES",
        "TMPDIR",
        PART_VARIABLE,
    },
)


class WarmRefusal(Exception):
    """A file cannot be forked from the interpreter; the message says why in one line."""


class SpoiledInterpreter(WarmRefusal):
    """The interpreter has ended itself: it has imported `module` for a file. Another one can take its place."""

    def __init__(self, module: str, why: str) -> None:
        super().__init__(why)
        self.module = module


class WarmInterpreter:
    """A started interpreter; it may still be importing."""

    def __init__(
        self, process: ChildProcess, requests: socket.socket, output: OutputFile, environment: Mapping[str, str]
    ):
        #: The accelerators that files will use, as torch finds them; None until it is ready.
        self.device_count: int | None = None
        self.is_usable = True  # it has neither ended nor stopped answering
        self._process = process
        self._requests = requests
        self._output = output
        self._environment = environment
        self._answers: dict[int, dict[str, object]] = {}
        self._sent = 0
        self._pending: set[int] = set()
        self._started = time.monotonic()

    @classmethod
    def start(cls, environment: Mapping[str, str], folder: Path, preload: Sequence[str] = PRELOAD) -> WarmInterpreter:
        """Start an interpreter in the working folder.

        Args:
            environment: the environment of the files that will run in it; PER_FILE is left out.
            folder: for a folder of the interpreter's own, with its output and what modules make on import.
            preload: modules that it imports before it is ready.
        """
        if sys.platform != "linux":
            raise WarmRefusal(f"fork is not safe on {sys.platform}")
        adopt_orphans()  # so that the second fork of the interpreter becomes this process's child
        own = {name: value for name, value in environment.items() if name not in PER_FILE}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            private = Path(tempfile.mkdtemp(prefix="warm-", dir=folder))
            (temporary := private / "tmp").mkdir()
            printed = OutputFile(private / "output.txt")
            command = [*own_interpreter(), "-c", PROGRAM, str(theirs.fileno()), str(os.getpid()), *preload]
            own[MARK_VARIABLE] = EMPTY_MARK
            own["TMPDIR"] = str(temporary)  # of imported modules: no fork may remove what all use
            process = start_child(command, environment_for_huge_pages(own), printed.descriptor, [theirs.fileno()])
        except OSError as error:
            ours.close()
            raise WarmRefusal(f"no interpreter could be started ({error.strerror})") from error
        finally:
            theirs.close()
        ours.setblocking(False)
        return cls(process, ours, printed, own)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def descriptor(self) -> int:
        """Become readable when the interpreter has sent an event."""
        return self._requests.fileno()

    @property
    def is_starting_a_file(self) -> bool:
        """True where a fork may exist whose process id is not known yet."""
        return bool(self._pending)

    def differences(self, environment: Mapping[str, str]) -> list[str]:
        """The variables that have another value in the interpreter, and that a fork cannot change any more."""
        names = {*environment, *self._environment} - PER_FILE
        return sorted(name for name in names if environment.get(name) != self._environment.get(name))

    def make_ready(self) -> Iterator[None]:
        """Yield until the interpreter is ready."""
        yield from self._wait(lambda: self.device_count is not None, self._started)

    def launch(
        self,
        command: FileCommand,
        environment: Mapping[str, str],
        order_path: Path,
        output: int,
        avoid: Mapping[str, str] | None = None,
    ) -> Generator[None, None, ChildProcess]:
        """Yield until the file's process has started; return it. The interpreter has to be ready.

        Args:
            environment: its whole environment, MARK_VARIABLE included.
            order_path: where the command may be written.
            output: the descriptor that the file prints to.
            avoid: modules that have spoiled another interpreter, with the reasons.

        Raises:
            WarmRefusal: it was not started.
        """
        self._sent = number = self._sent + 1
        try:
            write_command(order_path, command, environment)
        except OSError as error:
            raise WarmRefusal(f"its order cannot be written ({error.strerror})") from error
        try:
            packet = json.dumps({"id": number, "order": str(order_path), "avoid": avoid or {}}).encode("ascii")
            socket.send_fds(self._requests, [packet], [output])
        except OSError as error:
            self.is_usable = False
            raise WarmRefusal(f"{_INTERPRETER} takes no orders ({error.strerror})") from error
        self._pending.add(number)
        try:
            yield from self._wait(lambda: number in self._answers, time.monotonic())
        finally:
            self._pending.discard(number)
        answer = self._answers.pop(number)
        if answer["event"] == "spoiled":
            self.is_usable = False
            raise SpoiledInterpreter(str(answer["module"]), str(answer["reason"]))
        if answer["event"] == "refused":
            raise WarmRefusal(str(answer["reason"]))
        return ChildProcess(int(str(answer["pid"])))

    def close(self) -> None:
        """End the interpreter. Its forks run on."""
        self.is_usable = False
        self._requests.close()
        self._output.close()
        self._process.signal(signal.SIGKILL)
        deadline = time.monotonic() + 5.0
        while not self._process.has_ended() and time.monotonic() < deadline:
            time.sleep(0.002)

    def _wait(self, is_over: Callable[[], bool], since: float) -> Iterator[None]:
        while not is_over():
            self._receive()
            if not is_over():
                self._check(since)
                yield

    def _receive(self) -> None:
        if not self.is_usable:
            return
        with suppress(BlockingIOError, ConnectionError):
            while packet := self._requests.recv(PACKET_BYTES):
                event = json.loads(packet)
                if event["event"] == "ready":
                    self.device_count = int(event["devices"])
                else:
                    self._answers[event["id"]] = event

    def _check(self, since: float) -> None:
        """Raise WarmRefusal where the interpreter has ended, or take too long."""
        if not self.is_usable:
            raise WarmRefusal(f"{_INTERPRETER} was given up")
        if self._process.has_ended():
            self.is_usable = False
            for _ in self._output.read_new():
                pass
            lines = self._output.tail().splitlines()
            why = f": {lines[-1].strip()}" if lines else ""
            raise WarmRefusal(f"{_INTERPRETER} has ended{why}")
        if time.monotonic() - since > START_SECONDS:
            self.is_usable = False
            raise WarmRefusal(f"{_INTERPRETER} has not answered for {START_SECONDS:g} s")
