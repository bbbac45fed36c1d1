"""Which device stands for which in a run: `cuda=cpu`. Text in, record out; and how the results of runs on devices that
are not what tests take them for are marked. It needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

#: How the mark of a mapped run begins.
MAPPED = "mapped: "
#: How the mark of a test begins whose ranks shared devices.
SHARED = "shared: "

#: How many devices of the first type such a run counts: as many as one machine usually has.
SIMULATED_DEVICES = 8


@dataclass(frozen=True)
class DeviceMap:
    """What is asked for on `source` is made on `target`.

    Attributes:
        source: the device type that tests name, "cuda".
        target: the device type that they get, "cpu".
        count: how many devices of type `source` tests count.
    """

    source: str
    target: str
    count: int = SIMULATED_DEVICES

    def __str__(self) -> str:
        return f"{self.source}={self.target}"

    @property
    def mark(self) -> str:
        """What every result of such a run carries, so that nobody takes it for one of the real device."""
        return f"{MAPPED}{self.source} was {self.target}"


def shared_mark(ranks: int, count: int, device_type: str) -> str:
    """What the result of a test carries whose ranks shared `count` devices."""
    return f"{SHARED}{ranks} ranks on {count} {device_type}"


def parse_device_map(text: str) -> DeviceMap:
    """Reads "cuda=cpu".

    Raises:
        ValueError: it is none; the message is one sentence.
    """
    source, equals, target = text.partition("=")
    if not equals or not source.isidentifier() or not target.isidentifier():
        raise ValueError(f"{text!r} maps no device type to another; write one such as cuda=cpu")
    if source == target:
        raise ValueError(f"{text!r} maps a device type to itself")
    return DeviceMap(source, target)
