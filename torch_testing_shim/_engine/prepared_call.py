"""Sends a rank a process object of multiprocessing's, or one like it, that a test class has prepared itself.

It travels as multiprocessing's own do: pickled, with the descriptors that its arguments hold (pipes, queues, events).
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from multiprocessing import context, reduction
from typing import Any

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class _Descriptor:
    """A descriptor on its way; multiprocessing's arguments call `detach` when they have arrived."""

    #: The descriptors that this process has been given, while a call is unpacked.
    arrived: Sequence[int] = ()

    def __init__(self, number: int) -> None:
        self._number = number

    def detach(self) -> int:
        return self.arrived[self._number]


class _Starting:
    """Stands for the start of a process; multiprocessing's arguments ask for it while they are pickled."""

    DupFd = _Descriptor

    def __init__(self) -> None:
        self.descriptors: list[int] = []

    def duplicate_for_child(self, descriptor: int) -> int:
        self.descriptors.append(descriptor)
        return len(self.descriptors) - 1


def pack_call(process: Any) -> tuple[bytes, list[int]]:
    """Pickles an object whose `run` a rank is to call. Returns the bytes and the descriptors that it needs.

    Raises:
        Exception: the object cannot be pickled.
    """
    starting, text = _Starting(), io.BytesIO()
    context.set_spawning_popen(starting)  # type: ignore[arg-type]  # has what is asked of one
    try:
        reduction.ForkingPickler(text, pickle.HIGHEST_PROTOCOL).dump(process)
    finally:
        context.set_spawning_popen(None)
    return text.getvalue(), starting.descriptors


def unpack_call(text: bytes, descriptors: Sequence[int]) -> Any:
    """Unpickles the object. `descriptors` are the ones that it needs, as they have arrived here."""
    _Descriptor.arrived = descriptors
    try:
        return pickle.loads(text)
    finally:
        _Descriptor.arrived = ()
