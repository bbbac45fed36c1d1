"""The device that stands for another in a run, `cuda=cpu`, and the marks of results on such and on shared devices.
It needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

#: The mark of a mapped run begins so.
MAPPED = "mapped: "
#: The mark of a test whose ranks shared devices begins so.
SHARED = "shared: "

#: The number of devices of the first type that tests see in such a run: as many as one machine usually has.
SIMULATED_DEVICES = 8


@dataclass(frozen=True)
class DeviceMap:
    """A mapped device type: tests ask for `source`, "cuda", count `count` of it, and get `target`, "cpu"."""

    source: str
    target: str
    count: int = SIMULATED_DEVICES

    def __str__(self) -> str:
        return f"{self.source}={self.target}"

    @property
    def mark(self) -> str:
        """The mark of each result of such a run, so that nobody takes it for a result of the real device."""
        return f"{MAPPED}{self.source} was {self.target}"

    def check(self, index: int | None) -> None:
        """Raise what a driver does for the index of a device that is not there.

        Raises:
            RuntimeError: the index is too high.
        """
        if index is not None and index >= self.count:
            raise RuntimeError(f"invalid device ordinal: {self.source} {index} of {self.count} simulated devices")


def shared_mark(ranks: int, count: int, device_type: str) -> str:
    """The mark of a test whose ranks shared `count` devices."""
    return f"{SHARED}{ranks} ranks on {count} {device_type}"


def parse_device_map(text: str) -> DeviceMap:
    """Read "cuda=cpu".

    Raises:
        ValueError: it is other text; the message is one sentence.
    """
    source, equals, target = text.partition("=")
    if not equals or not source.isidentifier() or not target.isidentifier():
        raise ValueError(f"{text!r} maps no device type to another; write one such as cuda=cpu")
    if source == target:
        raise ValueError(f"{text!r} maps a device type to itself")
    return DeviceMap(source, target)
