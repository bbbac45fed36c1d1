"""Questions that all ranks answer through the store. The first answer in a rank's name counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from torch_testing_shim._engine.joined.bounded_store import BoundedStore, StoreLostError

#: How often answers are looked for, in seconds: at first, and at last. A look costs the store some 10 us.
_FIRST_LOOK, _LAST_LOOK = 0.0005, 0.02
#: Separates the number of the process that has answered from the answer.
_BY = ":"


class Exchange:
    """What one thread of a rank asks and answers.

    Args:
        store: this thread's own client; calls of it wait for each other.
        rank: this process.
    """

    def __init__(self, store: BoundedStore, rank: int) -> None:
        self.store = store
        self._rank = rank

    def answer(self, question: str, value: str, asked: int, rank: int | None = None) -> None:
        """Answers in the name of `rank`, by default this process. `asked` is how many ranks are asked.

        Raises:
            StoreLostError: the store does not answer.
        """
        own = f"{self._rank}{_BY}{value}"
        is_first = self.store.settle(f"{question}/{self._rank if rank is None else rank}", own) == own
        if is_first and self.store.add(f"{question}/count") == asked:
            self.store.set(f"{question}/all", "")

    def answers(self, question: str, ranks: Iterable[int]) -> dict[int, str]:
        """Returns the answers that are there, by rank; none where the store is lost."""
        ranks = list(ranks)
        keys = [f"{question}/{rank}" for rank in ranks]
        try:
            if not self.store.has(f"{question}/all"):
                there = [self.store.has(key) for key in keys]
                ranks = [rank for rank, is_there in zip(ranks, there, strict=True) if is_there]
                keys = [key for key, is_there in zip(keys, there, strict=True) if is_there]
            values = self.store.get(keys) if keys else []
        except StoreLostError:
            return {}
        return {rank: value.partition(_BY)[2] for rank, value in zip(ranks, values, strict=True)}

    def wait(self, question: str, until: Callable[[], float]) -> bool:
        """Waits until all ranks have answered; `until` says until when, on the monotonic clock, and is asked again and
        again. Returns whether they have; False where the store is lost."""
        pause = _FIRST_LOOK
        try:
            while not self.store.has(f"{question}/all"):
                left = until() - time.monotonic()
                if left <= 0:
                    return False
                time.sleep(min(pause, left))
                pause = min(2 * pause, _LAST_LOOK)
        except StoreLostError:
            return False
        return True
