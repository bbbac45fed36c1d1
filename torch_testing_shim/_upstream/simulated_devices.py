"""The simulated devices: which of them a thread uses, its streams and events, and a device's properties."""

from __future__ import annotations

import functools
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

    def __new__(
        cls,
        device: Any = None,
        priority: int = 0,
        *,
        stream_id: int | None = None,
        device_index: int | None = None,
        **_: object,
    ) -> SimulatedStream:
        index = device if isinstance(device, int) or device is None else torch.device(device).index
        index = next((each for each in (device_index, index) if each is not None), None)
        return super().__new__(
            cls,
            stream_id=next(_STREAM_NUMBERS) if stream_id is None else stream_id,
            device_index=_OF_THREAD.index if index is None else index,
            device_type=0,  # the CPU's
        )

    def __init__(self, device: Any = None, priority: int = 0, **_: object) -> None:
        self.priority = priority

    @property
    def cuda_stream(self) -> int:
        return self.stream_id

    @staticmethod
    def priority_range() -> tuple[int, int]:
        return 0, -1

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
        _OF_THREAD.before.append((_OF_THREAD.index, _OF_THREAD.stream(self.device_index)))
        _OF_THREAD.use(self)
        return self

    def __exit__(self, *_: object) -> None:
        index, stream = _OF_THREAD.before.pop()
        _OF_THREAD.use(stream)
        _OF_THREAD.index = index


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
        self.streams: dict[int, torch.Stream] = {}
        self.before: list[tuple[int, torch.Stream]] = []

    def stream(self, index: int) -> torch.Stream:
        """Return the current stream of a device."""
        return self.streams.get(index) or _default_stream(index)

    def use(self, stream: torch.Stream) -> None:
        """Make a stream the current one of its device, and the device the current device."""
        self.index = stream.device_index
        self.streams[self.index] = stream


@functools.cache
def _default_stream(index: int) -> SimulatedStream:
    return SimulatedStream(stream_id=0, device_index=index)


_OF_THREAD = _OfThread()


class SimulatedDevices:
    """The simulated devices of a map, with the choices of the thread that asks."""

    def __init__(self, devices: DeviceMap) -> None:
        self.map = devices

    @property
    def index(self) -> int:
        return _OF_THREAD.index

    def current_stream(self, device: Any = None) -> torch.Stream:
        return _OF_THREAD.stream(self.index_of(device))

    def default_stream(self, device: Any = None) -> torch.Stream:
        return _default_stream(self.index_of(device))

    def set_stream(self, stream: torch.Stream | None) -> None:
        if stream is not None:
            _OF_THREAD.use(stream)

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
        self.map.check(index)
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
