"""Asks an accelerator's driver questions without starting it in this process.

Most drivers start when they are asked anything, if only for the number of devices. They leave threads for good, and
from then on no rank can be forked. So another process asks, once for each question, and ranks inherit the answer:

    controller, where no thread lives across a fork --fork--> child: asks, answers, ends
    controller elsewhere --exec--> new interpreter: imports torch, asks, answers, ends
    rank: asks by itself, since its test is about to use the device
"""

from __future__ import annotations

import inspect
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from torch_testing_shim._engine.backend_records import DeviceError
from torch_testing_shim._engine.new_interpreter import interpreter_command, program_that_calls
from torch_testing_shim._engine.threads import fork_quietly, lasting_thread_count
from torch_testing_shim._shared.exit_status import describe_exit
from torch_testing_shim._shared.parent_death import signal_on_parent_death

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_Answer = TypeVar("_Answer")

_TORCHS = torch.accelerator.current_accelerator
#: Before torch 2.7 the question starts the driver, and raises where there is no accelerator.
_ANSWERS_BY_BUILD = "check_available" in inspect.signature(_TORCHS).parameters
_UNNAMED = "privateuseone"


def current_accelerator() -> torch.device | None:
    """Return the accelerator that this torch was built or extended for, which may be absent. Start no driver."""
    if _ANSWERS_BY_BUILD or torch.accelerator.current_accelerator is not _TORCHS:
        return torch.accelerator.current_accelerator()
    extension = torch._C._get_privateuse1_backend_name()
    built = {
        extension: extension != _UNNAMED,
        "cuda": torch.version.cuda is not None or torch.version.hip is not None,
        "xpu": torch._C._has_xpu,
        "mps": torch._C._has_mps,
    }
    return next((torch.device(device_type) for device_type, is_there in built.items() if is_there), None)


def accelerator_type() -> str | None:
    """Return the type of the accelerator that this torch was built or extended for, whether or not there is one; None
    where the CPU stands for it (--map-device), which has no driver."""
    accelerator = current_accelerator()
    return accelerator.type if accelerator is not None and accelerator.type != "cpu" else None


def initialized_accelerator() -> str | None:
    """Return the type of the accelerator whose driver runs in this process, so that a fork cannot use it; None if none
    does. A device module that does not say whether it is initialized counts as not initialized."""
    accelerator = accelerator_type()
    if accelerator is None:
        return None
    is_initialized = getattr(getattr(torch, accelerator, None), "is_initialized", None)
    return accelerator if is_initialized is not None and is_initialized() else None


def lost_accelerator() -> str | None:
    """Return the error of an accelerator that runs in this process and has stopped working; None where it works, or
    none runs. After an error in its code it raises for good."""
    accelerator = initialized_accelerator()
    synchronize = getattr(getattr(torch, accelerator or "", None), "synchronize", None)
    try:
        if synchronize is not None:
            synchronize()
    except RuntimeError as error:
        return f"{accelerator}: {error}"
    return None


class Driver:
    """The accelerator's driver as this process may ask it."""

    def __init__(self) -> None:
        self.may_start = False  # in this process; a rank sets it
        self._answers: dict[tuple[Any, ...], Any] = {}
        self._lock = threading.RLock()  # ranks that are threads ask together

    def ask(self, question: Callable[..., _Answer], *arguments: object) -> _Answer:
        """Return the result of `question(*arguments)`, which is called once.

        Args:
            question: a function that a new interpreter can import by its module and name.
            arguments: its arguments, hashable and picklable.

        Raises:
            DeviceError: the function raised, or the process that called it died.
        """
        key = (question, *arguments)
        with self._lock:
            if key not in self._answers:
                is_here = self.may_start or initialized_accelerator() is not None
                self._answers[key] = question(*arguments) if is_here else _asked_elsewhere(question, arguments)
            answer: _Answer = self._answers[key]
        return answer


def _asked_elsewhere(question: Callable[..., Any], arguments: tuple[object, ...]) -> Any:
    """Return the answer of another process."""
    start = _start_fork if hasattr(os, "fork") and lasting_thread_count() == 1 else _start_interpreter
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as answers:
        try:
            wait = start(question, arguments, write_end)
        except OSError as error:
            raise DeviceError(f"{accelerator_type()}'s driver cannot be asked: {error.strerror}") from None
        finally:
            os.close(write_end)
        answer, exit_code = answers.read(), wait()
    if not answer:
        ended = f"ended with {describe_exit(exit_code)} and gave no answer"
        raise DeviceError(f"the process that asked {accelerator_type()}'s driver {ended}")
    kind, value = pickle.loads(answer)
    if kind == "unknown device":  # only this process's modules have registered it with torch
        return question(*arguments)
    if kind == "error":
        raise DeviceError(f"{accelerator_type()}'s driver cannot be asked: {value}")
    return value


def _start_fork(question: Callable[..., Any], arguments: tuple[object, ...], answers: int) -> Callable[[], int]:
    parent = os.getpid()
    pid = fork_quietly()
    if pid == 0:
        try:
            signal_on_parent_death(parent, signal.SIGKILL)
            _answer(question, arguments, answers)
        finally:
            os._exit(0)
    return lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _start_interpreter(question: Callable[..., Any], arguments: tuple[object, ...], answers: int) -> Callable[[], int]:
    order = pickle.dumps((accelerator_type(), question, arguments))
    program = program_that_calls(answer_in_new_interpreter, order, answers, os.getpid(), path=sys.path)
    command = [*interpreter_command(), program]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[answers]).wait


def answer_in_new_interpreter(order: bytes, answers: int, parent_pid: int) -> None:
    """Carry out an order of `Driver.ask` in an interpreter that was started for it.

    Args:
        order: the accelerator's type, the question and its arguments, pickled.
        answers: descriptor to write the answer to.
        parent_pid: the process whose death ends this one.
    """
    signal_on_parent_death(parent_pid, signal.SIGKILL)
    expected, question, arguments = pickle.loads(order)
    if accelerator_type() != expected:
        os.write(answers, pickle.dumps(("unknown device", None)))
    else:
        _answer(question, arguments, answers)


def _answer(question: Callable[..., Any], arguments: tuple[object, ...], answers: int) -> None:
    """Ask in this process, and write the answer to a descriptor."""
    DRIVER.may_start = True  # further questions of the function are asked here
    try:
        answer = ("answer", question(*arguments))
    except Exception as error:
        answer = ("error", f"{type(error).__name__}: {error}")
    os.write(answers, pickle.dumps(answer))


#: The driver as this process may ask it.
DRIVER = Driver()
