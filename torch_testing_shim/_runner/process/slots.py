"""What files that run at the same time share: rank slots and accelerators. Pure but for the `Budget`'s own counts.

A file takes as many slots as its largest test has ranks. A core has room for `RANKS_PER_CORE` ranks, which wait for
each other most of the time: two files of 4 ranks run at once on two cores, and ten do not, however many jobs are asked
for. A file that needs more than there is runs alone.

Accelerators are leased to one file at a time: as many as it has ranks, or all where there are fewer. A file that does
not import torch has none, and where ranks may share them, files do, too.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Budget", "Lease", "slot_count"]

#: How many ranks a core has room for.
RANKS_PER_CORE = 4


def slot_count(jobs: int, cores: int) -> int:
    """How many rank slots there are: what the cores have room for, but at least one for each job."""
    return max(jobs, RANKS_PER_CORE * cores)


@dataclass(frozen=True)
class Lease:
    """What one process has been given.

    Attributes:
        slots: how many rank slots.
        devices: the indices of its accelerators; None where all are free to use.
    """

    slots: int
    devices: tuple[int, ...] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """What a process is told of it."""
        if self.devices is None:
            return {}
        return {"TORCH_TESTING_SHIM_DEVICE_INDICES": ",".join(map(str, self.devices))}


class Budget:
    """What there is, less what is leased.

    Args:
        slots: how many rank slots there are.
        devices: how many accelerators are to be leased; 0 where there are none, or where each file may use all.
    """

    def __init__(self, slots: int, devices: int = 0) -> None:
        self._slots = self._free_slots = slots
        self._device_count = devices
        self._free_devices = list(range(devices))

    def take(self, ranks: int, *, uses_devices: bool = True) -> Lease | None:
        """A lease for a file of so many ranks, or None where there is too little left now."""
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
        """Ends a lease."""
        self._free_slots += lease.slots
        self._free_devices = sorted([*self._free_devices, *(lease.devices or ())])
