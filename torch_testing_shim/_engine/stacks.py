"""Where a rank stands, by its Python stacks as faulthandler writes them: its line of the test, and in which call."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from torch_testing_shim._engine import quick_store

_FRAME = re.compile(r'\s+File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>\S+)$')
_LIBRARY = f"{sysconfig.get_path('stdlib')}/"
_HARNESS = f"{Path(__file__).parents[1]}/"
_TORCH = f"{Path(torch.__file__).parent}/"
_DISTRIBUTED = f"{_TORCH}distributed/"
#: pytest's own frames, between the harness and a test.
_PYTEST = ("/_pytest/", "/pluggy/")
#: Wrappers around torch's collectives, and around functions that torch has renamed; they are not the test's own calls.
_DISTRIBUTED_LOGGING, _DEPRECATION = f"{_DISTRIBUTED}c10d_logger.py", "/typing_extensions.py"
#: The function of the harness that enters a rank. The frames below it show what the controller was doing when the
#: rank's process was forked from it.
ENTRY = "_run_job"
#: The function of the harness that runs in a thread of its own in a rank.
OWN_THREAD = "_answer"


@dataclass(frozen=True)
class Frame:
    """One line of a stack."""

    file: str
    line: int
    function: str

    @classmethod
    def of(cls, frame: FrameType) -> Frame:
        """Return the line where a running frame stands."""
        return cls(frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name)

    def __str__(self) -> str:
        """Format it as faulthandler does."""
        return f'  File "{self.file}", line {self.line} in {self.function}'

    @property
    def is_distributed(self) -> bool:
        """Whether it lies in `torch.distributed`."""
        return self.file.startswith(_DISTRIBUTED)

    @property
    def is_entry(self) -> bool:
        """Whether the harness enters a rank here."""
        return self.function == ENTRY and self.is_harness

    @property
    def is_harness(self) -> bool:
        return self.file.startswith(_HARNESS)

    @property
    def is_pytests(self) -> bool:
        return any(part in self.file for part in _PYTEST)

    @property
    def _is_users(self) -> bool:
        if self.file.startswith((_TORCH, _HARNESS, "<frozen ")) or self.file.endswith(_DEPRECATION):
            return False
        return not self.file.startswith(_LIBRARY) or "/site-packages/" in self.file


@dataclass(frozen=True)
class Place:
    """The place where a rank stands."""

    where: str  # the line of the test, or of what it uses other than torch: "test_x.py:39"
    #: The call into torch.distributed that it waits in ("barrier"), else the function that the line is in. That call
    #: may be the harness's own, at a test's end.
    name: str
    is_waiting: bool  # whether it is inside torch.distributed

    def __str__(self) -> str:
        return f"in {self.name} ({self.where})"


def frames_of(innermost: FrameType | None) -> list[FrameType]:
    """Return a frame and its callers, innermost first."""
    found = []
    while innermost is not None:
        found.append(innermost)
        innermost = innermost.f_back
    return found


def stacks_text(threads: Sequence[Sequence[Frame]]) -> str:
    """Format the stacks of threads, each innermost first and the main thread's first, as faulthandler does; for a rank
    that faulthandler cannot ask."""
    blocks = []
    for number, frames in reversed(list(enumerate(threads))):
        title = "Current thread" if number == 0 else "Thread"
        blocks.append("\n".join([f"{title} 0x{number:016x} (most recent call first):", *map(str, frames), ""]))
    return "\n".join(blocks)


def frame_in(line: str) -> Frame | None:
    """Return the frame that a line of faulthandler's tells; None for another line."""
    found = _FRAME.match(line)
    return None if found is None else Frame(found["file"], int(found["line"]), found["function"])


def main_thread(text: str) -> tuple[Frame, ...]:
    """Return the frames of the main thread, innermost first; none where the text holds no stack. faulthandler writes
    the oldest thread last."""
    frames: list[Frame] = []
    for line in text.splitlines():
        if (frame := frame_in(line)) is not None:
            frames.append(frame)
        elif "hread 0x" in line:
            frames = []
    return tuple(frames)


def place_of(frames: Sequence[Frame]) -> Place | None:
    """Return where a thread with these frames, innermost first, stands; None where none is the user's or the harness's
    call of a collective."""
    entry = next((depth for depth, frame in enumerate(frames) if frame.is_entry), len(frames))
    own = [frame for frame in frames[:entry] if frame.file != quick_store.__file__]  # torch asks it what it waits for
    depth = next((depth for depth, frame in enumerate(own) if frame._is_users), None)
    if depth is None:
        depth = next((depth for depth, frame in enumerate(own) if frame.is_harness), None)
    if depth is None:
        return None
    caller, inner = own[depth], own[:depth]
    calls = [frame for frame in inner if frame.is_distributed and frame.file != _DISTRIBUTED_LOGGING]
    is_waiting = bool(calls) and inner[0].file.startswith(_TORCH)
    if not is_waiting and not caller._is_users:
        return None
    name = calls[-1].function if is_waiting else caller.function
    return Place(f"{Path(caller.file).name}:{caller.line}", name, is_waiting)
