"""What the cases of the catalogue share, whichever harness runs them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch.distributed as dist

__all__ = ["FAULT_TIMES", "FOREVER", "Faulty", "first_strike", "own_name"]

#: Names the folder in which a fault leaves the time at which it happened; set by `observe`.
FAULT_TIMES = "FAULT_TIMES"
#: Seconds of a sleep that no test sees the end of.
FOREVER = 3600


class Faulty:
    """Put before a harness's test class: three ranks, of which rank 1 is the guilty one unless a case says more."""

    world_size = 3

    @property
    def is_guilty(self) -> bool:
        return self.rank == 1  # type: ignore[attr-defined, no-any-return]

    def meet(self) -> None:
        """All ranks come here, and are connected with each other from here on."""
        dist.barrier()

    def strike(self) -> None:
        """The fault happens now: its time is kept where nothing that follows can reach it."""
        os.mkdir(Path(os.environ[FAULT_TIMES], f"{time.monotonic_ns()}"))  # which takes no descriptor


def first_strike(folder: Path) -> float | None:
    """When the fault happened first, in seconds of the monotonic clock; None where it never did."""
    return min((int(path.name) / 1e9 for path in folder.iterdir()), default=None)


def own_name() -> str:
    """A name that no other process's faults have, the same in the controller and its ranks."""
    return Path(os.environ[FAULT_TIMES]).parent.name
