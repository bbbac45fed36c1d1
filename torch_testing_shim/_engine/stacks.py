"""Python stacks of a rank as faulthandler writes them: which line of the test it stands at, and in which call.

Pure: text in, places out.
"""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

__all__ = ["ENTRY", "OWN_THREAD", "Frame", "Place", "main_thread", "place_of", "stacks_text"]

_FRAME = re.compile(r'\s+File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>\S+)$')
_TORCH = f"{Path(torch.__file__).parent}/"
_DISTRIBUTED = f"{_TORCH}distributed/"
#: What torch wraps around its collectives; no call of the test's.
_DISTRIBUTED_LOGGING = f"{_DISTRIBUTED}c10d_logger.py"
_DEPRECATION = "/typing_extensions.py"  # around those that torch has renamed
_HARNESS = f"{Path(__file__).parents[1]}/"
#: The function of the harness by which a rank is entered: what lies below it is what the controller was doing when the
#: rank's process was forked from it.
ENTRY = "_run_job"
#: The function of the harness that a thread of its own runs in a rank.
OWN_THREAD = "_answer"
_LIBRARY = f"{sysconfig.get_path('stdlib')}/"


@dataclass(frozen=True)
class Frame:
    """One line of a stack."""

    file: str
    line: int
    function: str

    @property
    def is_distributed(self) -> bool:
        """It lies in `torch.distributed`."""
        return self.file.startswith(_DISTRIBUTED)

    @property
    def is_entry(self) -> bool:
        """It is where the harness enters a rank."""
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
    """Where a rank stands.

    Attributes:
        where: the line of the test, or of what it uses other than torch: "test_x.py:39".
        name: the call into torch.distributed that it waits in ("barrier"), else the function that the line is in.
            That call may be the harness's own, at a test's end.
        is_waiting: it is inside torch.distributed.
    """

    where: str
    name: str
    is_waiting: bool

    def __str__(self) -> str:
        return f"in {self.name} ({self.where})"


def stacks_text(threads: Sequence[Sequence[Frame]]) -> str:
    """Stacks in faulthandler's form, for a rank that faulthandler cannot ask.

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
    """The frames of the main thread, innermost first: faulthandler writes the oldest thread last. Empty where the text
    holds no stack."""
    frames: list[Frame] = []
    for line in text.splitlines():
        found = _FRAME.match(line)
        if found is not None:
            frames.append(Frame(found["file"], int(found["line"]), found["function"]))
        elif "hread 0x" in line:
            frames = []
    return tuple(frames)


def place_of(frames: Sequence[Frame]) -> Place | None:
    """Where the thread stands; None where no line of it is the user's, nor the harness's call of a collective.

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
