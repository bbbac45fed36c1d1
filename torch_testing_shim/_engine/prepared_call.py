"""What a rank calls where its class has prepared that by itself: a process object of multiprocessing's, or one like it.

It travels as multiprocessing's own do: pickled, with the descriptors that its arguments hold (pipes, queues, events).
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from multiprocessing import context, reduction
from typing import Any

__all__ = ["pack_call", "unpack_call"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class _Descriptor:
    """A descriptor on its way, as multiprocessing's arguments ask for theirs when they have arrived."""

    #: What this process has been given, while a call is unpacked.
    arrived: Sequence[int] = ()

    def __init__(self, number: int) -> None:
        self._number = number

    def detach(self) -> int:
        return self.arrived[self._number]


class _Starting:
    """Stands for the start of a process, which multiprocessing's arguments ask for while they are pickled."""

    DupFd = _Descriptor

    def __init__(self) -> None:
        self.descriptors: list[int] = []

    def duplicate_for_child(self, descriptor: int) -> int:
        self.descriptors.append(descriptor)
        return len(self.descriptors) - 1


def pack_call(process: Any) -> tuple[bytes, list[int]]:
    """The text of an object whose `run` a rank is to call, and the descriptors that it needs.

    Raises:
        Exception: it cannot be pickled.
    """
    starting, text = _Starting(), io.BytesIO()
    context.set_spawning_popen(starting)  # type: ignore[arg-type]  # has what is asked of one
    try:
        reduction.ForkingPickler(text, pickle.HIGHEST_PROTOCOL).dump(process)
    finally:
        context.set_spawning_popen(None)
    return text.getvalue(), starting.descriptors


def unpack_call(text: bytes, descriptors: Sequence[int]) -> Any:
    """The object again. `descriptors` are those that it needs, as they have arrived here."""
    _Descriptor.arrived = descriptors
    try:
        return pickle.loads(text)
    finally:
        _Descriptor.arrived = ()
