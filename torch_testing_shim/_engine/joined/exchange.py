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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from torch_testing_shim._engine.joined.bounded_store import BoundedStore, StoreKeys, StoreLostError

#: How often answers are looked for, in seconds: at first, at last, and how much less often for each rank that does. A
#: look costs the store some 10 us.
_FIRST_LOOK, _LAST_LOOK, _FOR_EACH_RANK = 0.0005, 0.02, 0.0002
#: How long to look for an answer at a time, in seconds. No other thread's call comes in between.
_LOOKING_SECONDS = 0.1
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
        own, rank = f"{self._rank}{_BY}{value}", self._rank if rank is None else rank
        self.store.call(lambda keys: _answer(keys, question, rank, own, asked, common))

    def answers(self, question: str, ranks: Iterable[int], *, each: bool = False) -> dict[int, str]:
        """Return the answers that are there, by rank; none where the store is lost. Where all have it in common, this
        stands for an answer, unless `each` asks for the answers themselves."""
        ranks = list(ranks)
        with suppress(StoreLostError):
            return self.store.call(lambda keys: _answers(keys, question, ranks, each=each))
        return {}

    def wait(self, question: str, until: Callable[[], float]) -> bool:
        """Wait until all ranks have answered; `until` says until when, on the monotonic clock, and is asked again and
        again. Return whether they have; False where the store is lost."""
        pauses = _pauses(self._last_look)
        with suppress(StoreLostError):
            while True:
                end = until()
                stop = min(end, time.monotonic() + _LOOKING_SECONDS)
                if self.store.call(lambda keys, stop=stop: _is_there(keys, f"{question}/all", pauses, stop)):  # type: ignore[misc]
                    return True
                if time.monotonic() >= end:
                    return False
        return False


def _answer(keys: StoreKeys, question: str, rank: int, own: str, asked: int, common: str) -> None:
    if keys.settle(f"{question}/{rank}", own) != own:
        return
    alike = f"{question}/alike/{hashlib.sha256(common.encode()).hexdigest()[:_DIGITS]}"
    if common:
        keys.add(alike)
    if keys.add(f"{question}/count") == asked:
        are_alike = bool(common) and keys.add(alike) == asked + 1
        keys.set(f"{question}/all", common if are_alike else "")


def _answers(keys: StoreKeys, question: str, ranks: Sequence[int], *, each: bool) -> dict[int, str]:
    is_complete = keys.has(f"{question}/all")
    if is_complete and not each and (common := keys.get([f"{question}/all"])[0]):
        return dict.fromkeys(ranks, common)
    there = [rank for rank in ranks if is_complete or keys.has(f"{question}/{rank}")]
    values = keys.get([f"{question}/{rank}" for rank in there]) if there else []
    return {rank: value.partition(_BY)[2] for rank, value in zip(there, values, strict=True)}


def _pauses(last: float) -> Iterator[float]:
    """Yield how long to wait for the next look, in seconds."""
    pause = _FIRST_LOOK
    while True:
        yield pause
        pause = min(2 * pause, last)


def _is_there(keys: StoreKeys, name: str, pauses: Iterator[float], stop: float) -> bool:
    """Look for a key until it is there, or until a time on the monotonic clock; look once in any case."""
    while not keys.has(name):
        left = stop - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(next(pauses), left))
    return True
