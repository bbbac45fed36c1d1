"""Where a rank stands, by its Python stacks: at which line of the test, in which call, and what a thread waits for.

Stacks are texts as faulthandler writes them; what a thread waits for is read off its innermost frame, also where it
waits inside C++.
"""

from __future__ import annotations

import dis
import inspect
import re
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import FrameType

import torch
import torch.distributed as dist

__all__ = ["ENTRY", "OWN_THREAD", "Frame", "Place", "Wait", "main_thread", "place_of", "stacks_text", "wait_of"]

_FRAME = re.compile(r'\s+File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>\S+)$')
_LIBRARY = f"{sysconfig.get_path('stdlib')}/"
_HARNESS = f"{Path(__file__).parents[1]}/"
_TORCH = f"{Path(torch.__file__).parent}/"
_DISTRIBUTED = f"{_TORCH}distributed/"
_COLLECTIVES_FILE = f"{_DISTRIBUTED}distributed_c10d.py"
_OPERATORS_FILE = f"{_TORCH}_ops.py"
#: Wrappers around torch's collectives, and around functions that torch has renamed; they are no calls of the test's.
_DISTRIBUTED_LOGGING, _DEPRECATION = f"{_DISTRIBUTED}c10d_logger.py", "/typing_extensions.py"
#: The function of the harness that enters a rank. The frames below it show what the controller was doing when the
#: rank's process was forked from it.
ENTRY = "_run_job"
#: The function of the harness that runs in a thread of its own in a rank.
OWN_THREAD = "_answer"
#: Functions of `_COLLECTIVES_FILE` that start a process group.
_STARTS = ("_new_process_group_helper", "_store_based_barrier", "init_process_group", "new_group", "split_group")
#: Files and functions of torch that go into C++, which may wait for a collective there.
_NATIVE = ((f"{_TORCH}autograd/graph.py", "_engine_run_backward"), (f"{_TORCH}futures/__init__.py", "wait"))
#: Instructions that call a method, and that load the value of a plain name; the last of each are of Python before 3.11.
_CALLS = ("CALL", "CALL_METHOD")
_NAMES = ("LOAD_FAST", "LOAD_NAME", "LOAD_GLOBAL", "LOAD_DEREF")
#: Instructions of some versions of Python that stand between these.
_BETWEEN = ("PRECALL", "PUSH_NULL")


@dataclass(frozen=True)
class Frame:
    """One line of a stack."""

    file: str
    line: int
    function: str

    @property
    def is_distributed(self) -> bool:
        """Whether it lies in `torch.distributed`."""
        return self.file.startswith(_DISTRIBUTED)

    @property
    def is_entry(self) -> bool:
        """Whether the harness enters a rank here."""
        return self.function == ENTRY and self.file.startswith(_HARNESS)

    @property
    def _is_harness(self) -> bool:
        return self.file.startswith(_HARNESS)

    @property
    def _is_users(self) -> bool:
        if self.file.startswith((_TORCH, _HARNESS, "<frozen ")) or self.file.endswith(_DEPRECATION):
            return False
        return not self.file.startswith(_LIBRARY) or "/site-packages/" in self.file


@dataclass(frozen=True)
class Place:
    """The place where a rank stands.

    Attributes:
        where: the line of the test, or of what it uses other than torch: "test_x.py:39".
        name: the call into torch.distributed that it waits in ("barrier"), else the function that the line is in.
            That call may be the harness's own, at a test's end.
        is_waiting: whether it is inside torch.distributed.
    """

    where: str
    name: str
    is_waiting: bool

    def __str__(self) -> str:
        return f"in {self.name} ({self.where})"


def stacks_text(threads: Sequence[Sequence[Frame]]) -> str:
    """Formats stacks as faulthandler does, for a rank that faulthandler cannot ask.

    Args:
        threads: their frames, innermost first; the main thread comes first.
    """
    blocks = []
    for number, frames in reversed(list(enumerate(threads))):
        title = "Current thread" if number == 0 else "Thread"
        lines = [f'  File "{frame.file}", line {frame.line} in {frame.function}' for frame in frames]
        blocks.append("\n".join([f"{title} 0x{number:016x} (most recent call first):", *lines, ""]))
    return "\n".join(blocks)


def main_thread(text: str) -> tuple[Frame, ...]:
    """Returns the frames of the main thread, innermost first; none where the text holds no stack. faulthandler writes
    the oldest thread last."""
    frames: list[Frame] = []
    for line in text.splitlines():
        found = _FRAME.match(line)
        if found is not None:
            frames.append(Frame(found["file"], int(found["line"]), found["function"]))
        elif "hread 0x" in line:
            frames = []
    return tuple(frames)


def place_of(frames: Sequence[Frame]) -> Place | None:
    """Returns where a thread stands; None where no frame is the user's or the harness's call of a collective.

    Args:
        frames: innermost first.
    """
    entry = next((depth for depth, frame in enumerate(frames) if frame.is_entry), len(frames))
    own = frames[:entry]
    depth = next((depth for depth, frame in enumerate(own) if frame._is_users), None)
    if depth is None:
        depth = next((depth for depth, frame in enumerate(own) if frame._is_harness), None)
    if depth is None:
        return None
    caller, inner = own[depth], own[:depth]
    calls = [frame for frame in inner if frame.is_distributed and frame.file != _DISTRIBUTED_LOGGING]
    is_waiting = bool(calls) and inner[0].file.startswith(_TORCH)
    if not is_waiting and not caller._is_users:
        return None
    name = calls[-1].function if is_waiting else caller.function
    return Place(f"{Path(caller.file).name}:{caller.line}", name, is_waiting)


class Wait(Enum):
    """The kinds of what a thread waits for."""

    COLLECTIVE = "collective"  # other ranks, in a call of torch.distributed (send and recv too) or its work's `wait`
    START = "start"  # other ranks, in the start of a process group, where the system may be slow
    NATIVE = "native"  # perhaps a collective, inside a backward pass or a future: C++ that may do something else, too
    UNKNOWN = "unknown"  # something else, or it runs


def wait_of(innermost: FrameType) -> Wait:
    """Returns what a thread with this innermost frame waits for. The thread may go on meanwhile."""
    file, function = innermost.f_code.co_filename, innermost.f_code.co_name
    if file == _COLLECTIVES_FILE:
        return Wait.START if function in _STARTS else Wait.COLLECTIVE
    if (file, function) in _NATIVE:
        return Wait.NATIVE
    if file == _OPERATORS_FILE:
        is_wait = str(innermost.f_locals.get("self")).startswith("_c10d_functional.wait_tensor")
    else:
        waiting = _waiting_object(innermost)
        if isinstance(waiting, torch._C.Future):
            return Wait.NATIVE
        is_wait = isinstance(waiting, dist.Work)
    return Wait.COLLECTIVE if is_wait else Wait.UNKNOWN


def _waiting_object(frame: FrameType) -> object:
    """Returns the `work` of `work.wait()` or `self.work.wait()`, where the frame is in such a call without a time-out.
    None where it is in another call, or where the object comes from elsewhere."""
    if "wait" not in frame.f_code.co_names:
        return None
    done = [i for i in dis.get_instructions(frame.f_code) if i.offset <= frame.f_lasti and i.opname not in _BETWEEN]
    *before, method, call = done if len(done) > 2 else [done[-1]] * 3
    if call.offset != frame.f_lasti or call.opname not in _CALLS or call.arg != 0 or method.argval != "wait":
        return None
    attributes = []
    while before and before[-1].opname == "LOAD_ATTR":
        attributes.append(before.pop().argval)
    if not before or not before[-1].opname.startswith(_NAMES):
        return None
    name = before[-1].argval
    owner = frame.f_locals.get(name, frame.f_globals.get(name))
    for attribute in reversed(attributes):
        owner = inspect.getattr_static(owner, attribute, None)  # runs no code of the test's
    return owner
