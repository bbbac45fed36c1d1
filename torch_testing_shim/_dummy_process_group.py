"""A process group that has a rank and a size and sends nothing."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["DummyProcessGroup"]


class DummyProcessGroup:
    """Stands in for a process group where only its rank and size are asked, or an all-reduce that changes nothing
    (upstream's `DummyProcessGroup`, torch 2.13).

    Args:
        rank: the rank.
        size: the number of ranks.
    """

    def __init__(self, rank: int, size: int) -> None:
        self._rank, self._size = rank, size

    def rank(self) -> int:
        return self._rank

    def size(self) -> int:
        return self._size

    def allreduce(self, *args: Any, **kwargs: Any) -> DoneWork:
        """Leaves the tensors as they are."""
        return DoneWork()


class DoneWork:
    """The handle of a collective that has ended."""

    def wait(self, *args: Any, **kwargs: Any) -> bool:
        return True

    def is_completed(self) -> bool:
        return True

    def get_future(self) -> torch.futures.Future[int]:
        future: torch.futures.Future[int] = torch.futures.Future()
        future.set_result(1)
        return future
