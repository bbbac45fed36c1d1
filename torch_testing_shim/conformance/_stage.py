"""The stage: the ranks of one launch play worlds of several sizes, one after the other.

    launch of 4 ranks    save on 4        load on 2          load on 3
        rank 0            [ group of 4 ]   [ group of 2 ]     [ group of 3 ]
        rank 1            [            ]   [            ]     [            ]
        rank 2            [            ]     waits            [            ]
        rank 3            [            ]     waits              waits
                                       ^ all ranks exchange how it ended, through files

Each world is a process group of exactly its ranks, as a program that torchrun starts has it. Consecutive phases of one
size share a group, unless one of them failed.
"""

from __future__ import annotations

import gc
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch.distributed as dist
from torch._C._distributed_c10d import FileStore

from torch_testing_shim._engine.outcome import says_lost_peer
from torch_testing_shim.conformance._outcomes import Kind, Outcome, RowFailedError, outcome_of

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Result = TypeVar("Result")

#: Ranks look for files, since one that waits in a store of torch 2.6 keeps its other threads from running.
_POLL_SECONDS = 0.005
#: Other threads of this process get time to run: a gloo group that is destroyed while its own thread is about to let go
#: of a finished collective's tensors waits for that thread, which waits for the interpreter (torch 2.6).
_SETTLE_SECONDS = 0.02


@dataclass(frozen=True)
class Place:
    """Where a rank of the launch stands.

    Attributes:
        rank: its number.
        ranks: number of ranks of the launch; no phase has more.
        folder: folder that all ranks of the launch share, and that is theirs alone.
        device_type: type of the device that tensors are made on.
        backend: process-group backend, as `init_process_group` takes it.
        timeout: time that a collective may take.
    """

    rank: int
    ranks: int
    folder: Path
    device_type: str
    backend: str
    timeout: timedelta


@dataclass(frozen=True)
class _End:
    """How a phase ended in one rank: the outcome where it failed, and when, on the system's monotonic clock."""

    at: float
    is_lost_peer: bool
    outcome: Outcome | None

    def to_json(self) -> str:
        told = None if self.outcome is None else [self.outcome.kind.name, self.outcome.text]
        return json.dumps([self.at, self.is_lost_peer, told])

    @classmethod
    def from_json(cls, text: str) -> _End:
        at, is_lost_peer, told = json.loads(text)
        return cls(at, is_lost_peer, None if told is None else Outcome(Kind[told[0]], told[1]))


class Stage:
    """The ranks of a launch, as one of them sees them. Every rank makes the same calls in the same order."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._messages = place.folder / "messages"
        self._messages.mkdir(exist_ok=True)
        self._phases = self._folders = self._tellings = self._meetings = 0
        self._group_ranks: int | None = None

    @property
    def rank(self) -> int:
        return self.place.rank

    @property
    def device_type(self) -> str:
        return self.place.device_type

    def new_path(self) -> str:
        """Return a path for a checkpoint, the same in every rank. Nothing is there yet, and its parent exists."""
        self._folders += 1
        parent = self.place.folder / f"row{self._folders}"
        parent.mkdir(exist_ok=True)
        return str(parent / "checkpoint")

    def told(self, text: str = "") -> str:
        """Return what rank 0 says, in every rank; only rank 0's text counts."""
        self._tellings += 1
        name = f"told {self._tellings}"
        if self.rank == 0:
            self._say(name, text)
        return self._hear(name)

    def meet(self, patience: float) -> None:
        """Wait until every rank of the launch has come here, or for `patience` seconds."""
        self._meetings += 1
        self._say(f"met {self._meetings} {self.rank}", "")
        others = [self._messages / f"met {self._meetings} {rank}" for rank in range(self.place.ranks)]
        give_up = time.monotonic() + patience
        while time.monotonic() < give_up and not all(path.exists() for path in others):
            time.sleep(_POLL_SECONDS)

    def phase(self, ranks: int, step: str, work: Callable[[], Result]) -> Result | None:
        """Call `work` in the first `ranks` ranks, in a process group of exactly these; the others wait for its end.

        Args:
            ranks: number of ranks, at most those of the launch.
            step: name of the step, for the reason of a failure: "save", "load".
            work: what each rank does. It may use the default process group.

        Returns:
            What `work` returned; None in a rank that waited.

        Raises:
            RowFailedError: it failed in some rank; raised by every rank of the launch.
        """
        result: Result | None = None
        end = _End(0.0, False, None)
        if self._group_ranks not in (None, ranks):
            self.leave_group()  # ranks that wait now leave it too: when they are next asked, the others have a new one
        if self.rank < ranks:
            result, end = self._attempt(ranks, step, work)
            if end.outcome is not None:
                self.leave_group()  # the connections close, so that no other rank waits for this one
        if (worst := _folded(self._exchange(end))) is not None:
            self.leave_group()
            raise RowFailedError(worst)
        return result

    def _attempt(self, ranks: int, step: str, work: Callable[[], Result]) -> tuple[Result | None, _End]:
        try:
            self._enter_group(ranks)
            return work(), _End(time.monotonic(), False, None)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a distributed checkpoint's errors are no Exceptions (torch 2.13)
            outcome = outcome_of(step, error)
            return None, _End(time.monotonic(), says_lost_peer(outcome.text), outcome)

    def _exchange(self, end: _End) -> list[_End]:
        """Return how the phase ended in each rank, once it has ended in all."""
        self._phases += 1
        self._say(f"{self._phases} {self.rank}", end.to_json())
        return [_End.from_json(self._hear(f"{self._phases} {rank}")) for rank in range(self.place.ranks)]

    def _say(self, name: str, text: str) -> None:
        """Write a message that every rank can wait for."""
        written = self._messages / f"{name}.part"
        written.write_text(text)
        written.rename(self._messages / name)

    def _hear(self, name: str) -> str:
        """Wait for a message, and return its text.

        Raises:
            TimeoutError: nobody has written it in the time that a collective may take.
        """
        path, give_up = self._messages / name, time.monotonic() + self.place.timeout.total_seconds()
        while not path.exists():
            if time.monotonic() > give_up:
                raise TimeoutError(f"no rank has written {name!r}")
            time.sleep(_POLL_SECONDS)
        return path.read_text()

    def _enter_group(self, ranks: int) -> None:
        if self._group_ranks == ranks:
            return
        meeting = self.place.folder / f"group{self._phases}"
        dist.init_process_group(
            self.place.backend,
            store=FileStore(str(meeting), ranks),
            rank=self.rank,
            world_size=ranks,
            timeout=self.place.timeout,
        )
        self._group_ranks = ranks

    def leave_group(self) -> None:
        """Destroy the process group of the last phase, where there still is one."""
        self._group_ranks = None
        if dist.is_initialized():
            time.sleep(_SETTLE_SECONDS)
            dist.destroy_process_group()
            gc.collect()  # models and meshes in cycles hold groups, whose connections others wait on

    def clear(self) -> None:
        """Remove the checkpoints of a row that has ended."""
        self._exchange(_End(0.0, False, None))
        if self.rank == 0:
            for folder in self.place.folder.glob("row*"):
                shutil.rmtree(folder, ignore_errors=True)
        self._exchange(_End(0.0, False, None))


def _folded(ends: list[_End]) -> Outcome | None:
    """Return the outcome that the others followed from: a wrong value first, then the earliest failure of its own."""
    failed = [end for end in ends if end.outcome is not None]
    if not failed:
        return None
    return min(failed, key=_precedence).outcome


def _precedence(end: _End) -> tuple[bool, bool, float]:
    is_wrong = end.outcome is not None and end.outcome.kind is Kind.WRONG
    return (not is_wrong, end.is_lost_peer, end.at)
