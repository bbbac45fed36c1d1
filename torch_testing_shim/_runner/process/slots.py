"""The processes that may start: those with room in the budget of rank slots and accelerators, until the run's end.

A file takes as many slots as its largest test has ranks. A core has room for `RANKS_PER_CORE` ranks, which wait for
each other most of the time: two files of 4 ranks run at once on two cores, and ten do not, however many jobs are asked
for. A file that needs more than there is runs alone.

Accelerators are leased to one file at a time: as many as it has ranks, or all where there are fewer. A file that does
not import torch gets none, and where ranks may share them, files do, too.

The run's end has come when the user stops it, its time is up, or a file has failed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from ..cli.options import Options
from .file_life import FileLife
from .retry import RunKind, RunOrder

#: The number of ranks that a core has room for.
RANKS_PER_CORE = 4


def slot_count(jobs: int, cores: int) -> int:
    """The number of rank slots: as many as the cores have room for, and at least one for each job."""
    return max(jobs, RANKS_PER_CORE * cores)


@dataclass(frozen=True)
class Lease:
    """The share of one process: how many rank slots, and the indices of its accelerators; None where it may use all."""

    slots: int
    devices: tuple[int, ...] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """The variables by which the process learns its accelerators."""
        if self.devices is None:
            return {}
        return {"TORCH_TESTING_SHIM_DEVICE_INDICES": ",".join(map(str, self.devices))}


class Budget:
    """Rank slots and accelerators, less the leased ones.

    Args:
        slots: the number of rank slots.
        devices: the number of accelerators to lease; 0 where there are none, or where each file may use all.
    """

    def __init__(self, slots: int, devices: int = 0) -> None:
        self._slots = self._free_slots = slots
        self._device_count = devices
        self._free_devices = list(range(devices))

    def take(self, ranks: int, *, uses_devices: bool = True) -> Lease | None:
        """Return a lease for a file of so many ranks, or None where too little is free now."""
        slots = min(ranks, self._slots)
        devices = min(ranks, self._device_count) if uses_devices else 0
        if slots > self._free_slots or devices > len(self._free_devices):
            return None
        self._free_slots -= slots
        if not devices:
            return Lease(slots)
        given, self._free_devices = self._free_devices[:devices], self._free_devices[devices:]
        return Lease(slots, tuple(given))

    def give_back(self, lease: Lease) -> None:
        """End a lease."""
        self._free_slots += lease.slots
        self._free_devices = sorted([*self._free_devices, *(lease.devices or ())])


class StartRules:
    """Forbids starts once the end of the run has come. The run begins when this is made.

    Args:
        options: the deadline, and whether the run goes on after a failure.
        seconds: how long each file is expected to take, by name.
    """

    def __init__(self, options: Options, seconds: Mapping[str, float]) -> None:
        self.has_failed = False  # a file of the run has failed
        self.is_late = False  # a file was not started because it would have ended after the deadline
        self._options = options
        self._seconds = seconds
        self._began = time.monotonic()

    def forbid(self, order: RunOrder, file: FileLife, *, is_stopped: bool) -> bool:
        """True where an order may not start any more.

        A file that has started runs its other tests, so that none of them is lost; but no file is repeated, and after
        the deadline no test runs again.

        Args:
            is_stopped: the user wants the run to stop.
        """
        if is_stopped:
            return True
        is_new = not file.has_started or (order.number > 1 and order.kind is not RunKind.RETRY and file.is_waiting)
        if self._is_too_late(file) and (is_new or order.kind is RunKind.RETRY):
            self.is_late = self.is_late or not file.has_started
            return True
        return is_new and self.has_failed and not self._options.keep_going

    def _is_too_late(self, file: FileLife) -> bool:
        if self._options.deadline is None:
            return False
        needed = 0.0 if file.has_started else self._seconds.get(file.selection.name, 0.0)
        return time.monotonic() - self._began + needed > self._options.deadline
