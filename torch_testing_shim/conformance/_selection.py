"""How much of the products of strategy, optimizer and world sizes a run takes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from torch_testing_shim.conformance._optimizers import OPTIMIZERS, OptimizerRecord

_WORLD_SIZES = (1, 2, 3, 4, 8)


@dataclass(frozen=True)
class Selection:
    """The round trips that are made for each strategy.

    Attributes:
        resharding: pairs of world sizes: saved on the first, loaded on the second.
        optimizers: the optimizers. The first is taken through all pairs.
        drawn_examples: how many states hypothesis draws.
        takes_all: the other optimizers are taken through all pairs as well, and not through the first one alone.
    """

    resharding: Sequence[tuple[int, int]]
    optimizers: Sequence[OptimizerRecord] = OPTIMIZERS
    takes_all: bool = False
    drawn_examples: int = 25

    def round_trips(self) -> list[tuple[OptimizerRecord, int, int]]:
        """Return optimizer and world sizes of each round trip."""
        return [
            (optimizer, before, after)
            for number, optimizer in enumerate(self.optimizers)
            for before, after in (self.resharding if self.takes_all or not number else self.resharding[:1])
        ]


DEFAULT = Selection(((4, 2), (2, 4), (4, 3), (3, 1), (1, 2), (4, 4)))
#: The selection of the table of round trips.
TABLE = Selection(((4, 4), (4, 2), (4, 3), (2, 4), (3, 1), (1, 2)), takes_all=True)
THOROUGH = Selection(tuple(itertools.product(_WORLD_SIZES, _WORLD_SIZES)), takes_all=True, drawn_examples=500)
