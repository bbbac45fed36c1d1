"""A gloo backend that outlives its process groups, and how ranks agree that it can.

Ranks agree in a file mapped into memory, one for each backend: a rank notes there how often it has left the group, with
the sequence number of its collectives, and how it answers when the group is asked for again. Where one of them doubts,
all make a new backend. The answers are numbers, so that an old one is never taken for a new one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from torch_testing_shim._engine.collective_log import mapped, unmap

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: How long a rank that has left the group waits for the others, in seconds. Then it closes its connections, so that a
#: rank which waits for it in a collective learns that it has gone.
_LEAVE_SECONDS = 0.5
#: How long a rank waits for the others to ask for the group again, in seconds. Then it makes a new one, as those that
#: come later do.
_ASK_SECONDS = 5.0
#: The pause between two looks at what others have noted, in seconds: the first, and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0002, 0.005
#: A rank that will not use the backend again.
_NEVER = 2**63 - 1


@dataclass(frozen=True)
class Wish:
    """All that makes one gloo backend differ from another. Torch 2.6 cannot change a timeout for good."""

    rank: int
    size: int
    timeout: timedelta
    environment: tuple[str | None, ...]


class Agreement:
    """The file in which the ranks of one backend agree. Each rank writes its own numbers alone."""

    def __init__(self, path: Path, wish: Wish) -> None:
        self._path, self._rank, self._size = path, wish.rank, wish.size
        length = 3 * 8 * wish.size
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(file, length)
            self._bytes = mapped(file, 0, length)
            self._numbers = self._bytes.cast("q")
        finally:
            os.close(file)

    def leave(self, use: int, sequence: int) -> None:
        """Note that this rank has left the group for the time `use`, after so many collectives."""
        self._note(1, sequence)
        self._note(0, use)

    def have_left(self, use: int) -> bool:
        return all(number >= use for number in self._column(0))

    def is_quiet(self) -> bool:
        """Whether all ranks have entered as many collectives; read once all have left."""
        return len(set(self._column(1))) == 1

    def answer(self, use: int) -> None:
        """Note that this rank wants the group for the time `use`."""
        self._note(2, use)

    def have_answered(self, use: int) -> bool:
        return all(number >= use for number in self._column(2))

    def have_agreed(self, use: int) -> bool:
        return all(number == use for number in self._column(2))

    def is_refused(self) -> bool:
        return _NEVER in self._column(2)

    def refuse(self) -> None:
        """Note that this rank does not want the group any more. The agreement cannot be used after that. The others
        have opened the file: it can go."""
        self.answer(_NEVER)
        self._path.unlink(missing_ok=True)
        self._numbers.release()
        unmap(self._bytes)

    def _note(self, column: int, number: int) -> None:
        self._numbers[column * self._size + self._rank] = number

    def _column(self, column: int) -> list[int]:
        return self._numbers[column * self._size :][: self._size].tolist()


class ParkedBackend:
    """A gloo backend that outlives its process groups.

    Attributes:
        use: how often it has been asked for.
        is_in_use: torch has a group with it now.
        is_doubted: something may be left in its connections.
    """

    def __init__(self, backend: Any, wish: Wish, agreement: Agreement) -> None:
        self.backend, self.wish, self._agreement = backend, wish, agreement
        self.use, self.is_in_use, self.is_doubted = 1, True, False

    def leave(self) -> bool:
        """Tell the others that this rank has left the group, and wait a moment for them. Return whether the backend
        can be kept."""
        self.is_in_use = False
        is_changed = self.backend.options._timeout != self.wish.timeout
        if self.is_doubted or is_changed or _has_hooks(self.backend, self.wish):
            return False
        self._agreement.leave(self.use, self.backend._get_sequence_number_for_group())
        has_come = _await(lambda: self._agreement.have_left(self.use) or self._agreement.is_refused(), _LEAVE_SECONDS)
        return has_come and not self._agreement.is_refused() and self._agreement.is_quiet()

    def take(self, wish: Wish) -> bool:
        """Ask the others whether all want it again for this wish. Return whether it is in use again."""
        if wish != self.wish:
            return False
        self.use += 1
        self._agreement.answer(self.use)
        has_come = _await(lambda: self._agreement.have_answered(self.use), _ASK_SECONDS)
        self.is_in_use = has_come and self._agreement.have_agreed(self.use)
        return self.is_in_use

    def refuse(self) -> None:
        """Tell the others not to wait for this rank. Its connections close when nothing else holds the backend."""
        self._agreement.refuse()


def _await(is_done: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is so. Return whether it came about in time."""
    end, pause = time.monotonic() + seconds, _FIRST_PAUSE
    while not is_done():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(1.5 * pause, _LONGEST_PAUSE)
    return True


def _has_hooks(backend: Any, wish: Wish) -> bool:
    """Whether a test has registered a hook with the backend (torch 2.14; older ones have none for gloo)."""
    if not hasattr(backend, "_register_on_completion_hook"):
        return False
    group: Any = dist.ProcessGroup(HashStore(), wish.rank, wish.size)  # the question is put to a group
    group._set_default_backend(dist.ProcessGroup.BackendType.GLOO)
    group._register_backend(torch.device("cpu"), dist.ProcessGroup.BackendType.GLOO, backend)
    return bool(group._has_hooks())
