"""The rendezvous of ranks that are threads of one process: one meeting for each collective of a group.

The last rank to come does the work for all. Nobody waits in vain: a meeting ends with an error as soon as its ranks
called different collectives, or one of them has ended and will never come.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch_testing_shim._engine.outcome import CollectiveMismatchError, LostPeerError, ranks_text

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


@dataclass(frozen=True)
class Call:
    """The collective that one rank came for."""

    name: str  # "all_reduce"
    detail: str = ""  # its arguments, for people: "of [4] float32"
    compared: tuple[Hashable, ...] = ()  # what must be the same on all ranks, besides the name

    def __str__(self) -> str:
        return f"{self.name} {self.detail}".rstrip()


@dataclass
class _Meeting:
    """One collective of one group."""

    title: str  # for people: "collective 2 of the default group"
    members: tuple[int, ...]  # the group's ranks, in its order
    calls: dict[int, Call] = field(default_factory=dict)  # of the ranks that have come
    brought: dict[int, Any] = field(default_factory=dict)  # their data
    over: threading.Event = field(default_factory=threading.Event)  # nobody has to wait any more
    error: Callable[[int], Exception] | None = None  # makes the error of a rank, where the meeting ended with one

    @property
    def is_full(self) -> bool:
        return len(self.calls) == len(self.members)

    def end(self, error: Callable[[int], Exception]) -> None:
        if not self.over.is_set():
            self.error = error
            self.over.set()

    def disagreement(self) -> str | None:
        """Say which rank called what, where the ranks that have come called different things; None where not."""
        if len({(call.name, call.compared) for call in self.calls.values()}) == 1:
            return None
        said: dict[str, list[int]] = {}
        for rank, call in sorted(self.calls.items()):
            said.setdefault(str(call), []).append(rank)
        parties = ", ".join(f"{ranks_text(ranks)} {text}" for text, ranks in said.items())
        return f"ranks disagree on {self.title}: {parties}"


class Rendezvous:
    """The meetings of one test's ranks, which are global ranks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[str, int], _Meeting] = {}
        self._waiting: dict[int, tuple[int, _Meeting]] = {}  # thread -> its rank, and where it waits
        self._left: dict[int, str] = {}  # rank -> how it ended
        self._is_over = False

    def come(
        self,
        group: str,
        number: int,
        members: Sequence[int],
        rank: int,
        call: Call,
        brought: Any,
        work: Callable[[list[Any]], object],
    ) -> Callable[[], None]:
        """Comes to a group's meeting; does its work if this rank is the last. Return a function that waits until the
        work is done.

        Args:
            group: the group's name.
            number: 0-based number of the meeting in the group, for this rank.
            members: the group's ranks, in the group's order.
            rank, call, brought: this rank, its call and its data.
            work: called by one of the ranks with the data of all, in the order of members.

        Raises:
            CollectiveMismatchError: in the wait: the others called something else.
            LostPeerError: in the wait: one of the others has ended, or could not do the work.
            Exception: raised by `work`, in the rank that did it.
        """
        title = f"collective {number} of {'the default group' if group == '0' else f'group {group}'}"
        with self._lock:
            meeting = self._open.setdefault((group, number), _Meeting(title, tuple(members)))
            meeting.calls[rank], meeting.brought[rank] = call, brought
            self._look_for_trouble(meeting)
            is_last = meeting.is_full and not meeting.over.is_set()
            if is_last:
                del self._open[group, number]
        if is_last:
            self._work(meeting, rank, work)
        return lambda: self._wait(meeting, rank)

    def _wait(self, meeting: _Meeting, rank: int) -> None:
        thread = threading.get_ident()
        self._waiting[thread] = rank, meeting
        try:
            meeting.over.wait()
        finally:
            del self._waiting[thread]
        if meeting.error is not None:
            raise meeting.error(rank)

    def leave(self, rank: int, how: str) -> None:
        """Note how a rank ended ("failed"): it comes to no more meetings. Ranks that wait for it now or later fail at
        once."""
        with self._lock:
            self._left.setdefault(rank, how)
            for meeting in self._open.values():
                self._look_for_trouble(meeting)

    def end(self) -> None:
        """End every meeting, also future ones."""
        with self._lock:
            self._is_over = True
            for meeting in self._open.values():
                self._look_for_trouble(meeting)

    def waits_for(self, thread: int | None) -> str:
        """Say for which ranks the thread of this id waits; empty where it does not wait, or they have come."""
        rank, meeting = self._waiting.get(thread or 0, (0, None))
        if meeting is None or meeting.is_full or meeting.over.is_set():
            return ""
        missing = [member for member in meeting.members if member not in meeting.calls]
        return f"{ranks_text(missing)} in {meeting.calls[rank]} ({meeting.title})"

    def all_wait(self, threads: Collection[int]) -> bool:
        """Whether each of the threads waits for others."""
        with self._lock:
            return bool(threads) and all(map(self.waits_for, threads))

    def _look_for_trouble(self, meeting: _Meeting) -> None:
        problem = meeting.disagreement()
        missing = [rank for rank in meeting.members if rank in self._left and rank not in meeting.calls]
        if self._is_over:
            meeting.end(lambda _: LostPeerError(f"{meeting.title} was given up: the test has ended"))
        elif problem is not None:
            meeting.end(lambda _: CollectiveMismatchError(problem))
        elif missing:
            why = ", ".join(f"rank {rank}, which {self._left[rank]}" for rank in missing)
            meeting.end(lambda rank: LostPeerError(f"{meeting.calls[rank]} ({meeting.title}) waits in vain for {why}"))

    @staticmethod
    def _work(meeting: _Meeting, rank: int, work: Callable[[list[Any]], object]) -> None:
        try:
            work([meeting.brought[member] for member in meeting.members])
        except BaseException:
            meeting.end(lambda other: LostPeerError(f"{meeting.calls[other]} waits in vain for rank {rank}: it failed"))
            raise
        finally:
            meeting.over.set()
