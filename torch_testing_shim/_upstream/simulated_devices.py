"""The simulated devices: which of them a thread uses, its streams and events, and a device's properties."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from torch_testing_shim._shared.device_map import DeviceMap

#: Too low for flash attention (8.0), fp8 (8.9) and triton (7.0).
CAPABILITY = (6, 0)
_STREAM_NUMBERS = itertools.count(1)


class SimulatedStream(torch.Stream):
    """A stream that orders nothing: work that is put into it has run when the call returns."""

    def __new__(cls, *args: Any, **kwargs: Any) -> SimulatedStream:
        number = kwargs.get("stream_id", next(_STREAM_NUMBERS))
        return super().__new__(cls, stream_id=number, device_index=0, device_type=0)  # the CPU's, of any index

    def __init__(self, *_: object, **__: object) -> None:
        """Ignore a device or a priority."""

    def wait_stream(self, stream: object) -> None:
        """Do nothing: all work has run."""

    def wait_event(self, event: object) -> None:
        """Do nothing: all work has run."""

    def synchronize(self) -> None:
        """Do nothing: all work has run."""

    def query(self) -> bool:
        return True

    def record_event(self, event: SimulatedEvent | None = None) -> SimulatedEvent:  # type: ignore[override]
        event = event or SimulatedEvent()
        event.record(self)
        return event

    def __enter__(self) -> SimulatedStream:
        _OF_THREAD.before.append(_OF_THREAD.stream)
        _OF_THREAD.stream = self
        return self

    def __exit__(self, *_: object) -> None:
        _OF_THREAD.stream = _OF_THREAD.before.pop()


class SimulatedEvent(torch.Event):
    """An event that is a time on the wall clock."""

    _at: float | None = None

    def __new__(cls, *_: object, **__: object) -> SimulatedEvent:
        return super().__new__(cls, device="cpu")

    def __init__(self, *_: object, **__: object) -> None:
        """Ignore a device or an option."""

    def record(self, stream: object = None) -> None:
        self._at = time.perf_counter()

    def wait(self, stream: object = None) -> None:
        """Do nothing: all work has run."""

    def synchronize(self) -> None:
        """Do nothing: all work has run."""

    def query(self) -> bool:
        return True

    def elapsed_time(self, end: SimulatedEvent) -> float:  # type: ignore[override]
        """Milliseconds from this event to `end`.

        Raises:
            RuntimeError: one of them has not been recorded.
        """
        if self._at is None or end._at is None:
            raise RuntimeError("both events must be recorded before the time between them can be asked for")
        return 1000 * (end._at - self._at)


class _OfThread(threading.local):
    """The choices of a thread: as with a driver, each starts with the first device and its default stream."""

    def __init__(self) -> None:
        self.index = 0
        self.stream: torch.Stream = _DEFAULT_STREAM
        self.before: list[torch.Stream] = []


_DEFAULT_STREAM = SimulatedStream(stream_id=0)
_OF_THREAD = _OfThread()


class SimulatedDevices:
    """The simulated devices of a map, with the choices of the thread that asks."""

    def __init__(self, devices: DeviceMap) -> None:
        self.map = devices

    @property
    def index(self) -> int:
        return _OF_THREAD.index

    @property
    def stream(self) -> torch.Stream:
        return _OF_THREAD.stream

    @stream.setter
    def stream(self, stream: torch.Stream | None) -> None:
        if stream is not None:
            _OF_THREAD.stream = stream

    @property
    def default_stream(self) -> torch.Stream:
        return _DEFAULT_STREAM

    def index_of(self, device: Any) -> int:
        """Return the number of a device given as number, name or device; the current one's for None or no index.

        Raises:
            RuntimeError: there is no such device.
        """
        if isinstance(device, str):
            device = torch.device(device)
        index = device.index if isinstance(device, torch.device) else device
        if index is None:
            return self.index
        if index >= self.map.count:
            raise RuntimeError(
                f"invalid device ordinal: {self.map.source} {index} of {self.map.count} simulated devices"
            )
        return int(index)

    def choose(self, device: Any) -> int:
        """Make a device the current one; -1 changes nothing. Return the number of the one before."""
        before, index = self.index, self.index_of(device)
        if index >= 0:
            _OF_THREAD.index = index
        return before

    @contextmanager
    def chosen(self, device: Any) -> Iterator[None]:
        """Make a device the current one in the block."""
        before = self.choose(device)
        try:
            yield
        finally:
            self.choose(before)


@dataclass(frozen=True)
class DeviceProperties:
    """The answer of `torch.cuda.get_device_properties`; other properties of a simulated device are not known."""

    name: str
    total_memory: int
    major: int = CAPABILITY[0]
    minor: int = CAPABILITY[1]
    multi_processor_count: int = 1
    warp_size: int = 32
    is_integrated: bool = False
    is_multi_gpu_board: bool = False
    gcnArchName: str = "simulated"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{name!r} is not known of the device {self.name!r}, which --map-device simulates")


def host_memory() -> tuple[int, int]:
    """Return the free and the total bytes of the host's memory."""
    page = os.sysconf("SC_PAGE_SIZE")
    return page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")
