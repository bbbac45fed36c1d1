"""Questions that all ranks answer through the store. The first answer in a rank's name counts.

    q/0, q/1, ...   the answers
    q/count         how many there are
    q/alike/HASH    how many of them have this in common
    q/all           is there once all have answered: what all answers have in common, else an empty text

So where all answer alike, which they nearly always do, nobody reads as many answers as there are ranks.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable

from torch_testing_shim._engine.joined.bounded_store import BoundedStore, StoreLostError

#: How often answers are looked for, in seconds: at first, at last, and how much less often for each rank that does. A
#: look costs the store some 10 us.
_FIRST_LOOK, _LAST_LOOK, _FOR_EACH_RANK = 0.0005, 0.02, 0.0002
#: Separates the number of the process that has answered from the answer.
_BY = ":"
#: The length of the hash of what answers have in common.
_DIGITS = 16


class Exchange:
    """What one thread of a rank asks and answers.

    Args:
        store: this thread's own client; calls of it wait for each other.
        rank: this process.
        size: how many ranks look for answers.
    """

    def __init__(self, store: BoundedStore, rank: int, size: int = 1) -> None:
        self.store = store
        self._last_look = _LAST_LOOK + _FOR_EACH_RANK * size
        self._rank = rank

    def answer(self, question: str, value: str, asked: int, rank: int | None = None, common: str = "") -> None:
        """Answer in the name of `rank`, by default this process.

        Args:
            asked: how many ranks are asked.
            common: what stands for the answers where all have this in common; empty for an answer of its own kind.

        Raises:
            StoreLostError: the store does not answer.
        """
        own = f"{self._rank}{_BY}{value}"
        if self.store.settle(f"{question}/{self._rank if rank is None else rank}", own) != own:
            return
        alike = f"{question}/alike/{hashlib.sha256(common.encode()).hexdigest()[:_DIGITS]}"
        if common:
            self.store.add(alike)
        if self.store.add(f"{question}/count") == asked:
            are_alike = bool(common) and self.store.add(alike) == asked + 1
            self.store.set(f"{question}/all", common if are_alike else "")

    def answers(self, question: str, ranks: Iterable[int], *, each: bool = False) -> dict[int, str]:
        """Return the answers that are there, by rank; none where the store is lost. Where all have it in common, this
        stands for an answer, unless `each` asks for the answers themselves."""
        ranks = list(ranks)
        keys = [f"{question}/{rank}" for rank in ranks]
        try:
            is_complete = self.store.has(f"{question}/all")
            if is_complete and not each and (common := self.store.get([f"{question}/all"])[0]):
                return dict.fromkeys(ranks, common)
            if not is_complete:
                there = [self.store.has(key) for key in keys]
                ranks = [rank for rank, is_there in zip(ranks, there, strict=True) if is_there]
                keys = [key for key, is_there in zip(keys, there, strict=True) if is_there]
            values = self.store.get(keys) if keys else []
        except StoreLostError:
            return {}
        return {rank: value.partition(_BY)[2] for rank, value in zip(ranks, values, strict=True)}

    def wait(self, question: str, until: Callable[[], float]) -> bool:
        """Wait until all ranks have answered; `until` says until when, on the monotonic clock, and is asked again and
        again. Return whether they have; False where the store is lost."""
        pause = _FIRST_LOOK
        try:
            while not self.store.has(f"{question}/all"):
                left = until() - time.monotonic()
                if left <= 0:
                    return False
                time.sleep(min(pause, left))
                pause = min(2 * pause, self._last_look)
        except StoreLostError:
            return False
        return True
