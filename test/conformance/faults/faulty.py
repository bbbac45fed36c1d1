"""Base of all cases of the catalogue, whichever harness runs them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch.distributed as dist

#: Names the folder in which a fault leaves the time at which it happened; set by `observe`.
FAULT_TIMES = "FAULT_TIMES"
#: Names the number of ranks where it is not 3, for ranks on several hosts: then the last one is guilty.
RANKS_VARIABLE = "FAULT_RANKS"
RANKS = int(os.environ.get(RANKS_VARIABLE, "3"))
GUILTY = 1 if RANKS == 3 else RANKS - 1
#: Seconds of a sleep that no test sees the end of.
FOREVER = 3600
#: The test that every class of the catalogue has besides its faults.
IN_ORDER = "test_in_order"


class Faulty:
    """Put before a harness's test class: three ranks, of which rank 1 is the guilty one unless a case says more."""

    world_size = RANKS

    @property
    def is_guilty(self) -> bool:
        return self.rank == GUILTY  # type: ignore[attr-defined, no-any-return]

    def meet(self) -> None:
        """All ranks come here, and are connected with each other from here on."""
        dist.barrier()

    def strike(self) -> None:
        """The fault happens now: its time is kept where nothing that follows can reach it."""
        name = f"{time.monotonic_ns()}.{os.getpid()}"
        os.mkdir(Path(os.environ[FAULT_TIMES], name))  # which takes no descriptor

    def test_in_order(self) -> None:
        """Not a fault: runs before and after each in the same reused ranks, and finds everything in order."""
        from faults.untouched import check_state  # which builds on this module

        check_state(self)


def first_strike(folder: Path) -> float | None:
    """When the fault happened first, in seconds of the monotonic clock; None where it never did."""
    return min((seconds for seconds, _ in strikes(folder)), default=None)


def last_first_strike(folder: Path) -> float | None:
    """The same for the latest run of a test that has run twice, in reused ranks and in fresh ones: when the process in
    which it happened last had it happen first."""
    found = strikes(folder)
    return min((seconds for seconds, pid in found if pid == max(found)[1]), default=None)


def strikes(folder: Path) -> list[tuple[float, str]]:
    """When the fault happened, in seconds of the monotonic clock, each time with the process id."""
    parts = (path.name.split(".") for path in folder.iterdir())
    return [(int(nanoseconds) / 1e9, pid) for nanoseconds, pid in parts]


def own_name() -> str:
    """A name that no other process's faults have, the same in the controller and its ranks."""
    return Path(os.environ[FAULT_TIMES]).parent.name
