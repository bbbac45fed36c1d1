"""What `torch.cuda.*`, or the module of another mapped device type, answers in a run that maps the type to another.

| call | answer |
| --- | --- |
| `is_available` | True |
| `device_count` | the number of simulated devices |
| `current_device`, `set_device`, `device`, `device_of` | a number that is kept and means nothing |
| `synchronize`, `empty_cache`, `ipc_collect`, `reset_*_memory_stats`, `_sleep` | nothing happens |
| `Stream`, `Event`, `stream`, `current_stream`, `default_stream`, `set_stream` | objects that order nothing: calls on the other device follow each other anyway; `elapsed_time` is the wall clock's |
| `manual_seed`, `manual_seed_all`, `seed`, `seed_all`, `get_rng_state`, `set_rng_state` | those of the other device |
| `memory_allocated`, `max_memory_allocated`, `memory_reserved`, `max_memory_reserved` | 0 |
| `get_device_name` | "cuda simulated on cpu" |

Everything else (capabilities, properties, graphs, the allocator's snapshots) is as without the device: it fails, since
no answer would be true.
"""  # noqa: E501 - a table

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

from torch_testing_shim._device_map import DeviceMap

__all__ = ["SimulatedEvent", "SimulatedStream", "patch_device_calls"]


_NOTHING_HAPPENS = (
    "_sleep",
    "empty_cache",
    "ipc_collect",
    "reset_accumulated_memory_stats",
    "reset_max_memory_allocated",
    "reset_peak_memory_stats",
    "set_stream",
    "synchronize",
)
_ZERO = ("max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved")


class SimulatedStream:
    """Orders nothing: what is put into it has run when the call returns."""

    def __init__(self, *_: object, **__: object) -> None:
        self.device_index = 0

    def wait_stream(self, stream: object) -> None:
        """Nothing to wait for."""

    def wait_event(self, event: object) -> None:
        """Nothing to wait for."""

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def query(self) -> bool:
        return True

    def record_event(self, event: SimulatedEvent | None = None) -> SimulatedEvent:
        event = event or SimulatedEvent()
        event.record(self)
        return event

    def __enter__(self) -> SimulatedStream:
        return self

    def __exit__(self, *_: object) -> None:
        """It was not the current one, and the other is."""


class SimulatedEvent:
    """A point of time on the wall clock."""

    def __init__(self, *_: object, **__: object) -> None:
        self._at: float | None = None

    def record(self, stream: object = None) -> None:
        self._at = time.perf_counter()

    def wait(self, stream: object = None) -> None:
        """What was recorded has run."""

    def synchronize(self) -> None:
        """What was recorded has run."""

    def query(self) -> bool:
        return True

    def elapsed_time(self, end: SimulatedEvent) -> float:
        """Milliseconds from this event to `end`.

        Raises:
            RuntimeError: one of them has not been recorded.
        """
        if self._at is None or end._at is None:
            raise RuntimeError("both events must be recorded before the time between them can be asked for")
        return 1000 * (end._at - self._at)


class _CurrentDevice:
    """The number of the device that a process has chosen."""

    def __init__(self) -> None:
        self.index = 0

    def choose(self, device: Any) -> None:
        if isinstance(device, int) and device >= 0:
            self.index = device

    @contextmanager
    def chosen(self, device: Any) -> Iterator[None]:
        before = self.index
        self.choose(device)
        try:
            yield
        finally:
            self.index = before


def patch_device_calls(devices: DeviceMap) -> None:
    """Replaces the calls of the table in the module of the mapped device type, if torch has one."""
    module = getattr(torch, devices.source, None)
    if isinstance(module, ModuleType):
        for name, answer in _answers(devices).items():
            setattr(module, name, answer)


def _answers(devices: DeviceMap) -> dict[str, Callable[..., Any]]:
    current, stream = _CurrentDevice(), SimulatedStream()
    return {
        **dict.fromkeys(_NOTHING_HAPPENS, _do_nothing),
        **dict.fromkeys(_ZERO, lambda *_, **__: 0),
        **_random_numbers(devices.target),
        "is_available": lambda: True,
        "device_count": lambda: devices.count,
        "current_device": lambda: current.index,
        "set_device": current.choose,
        "device": current.chosen,
        "device_of": current.chosen,
        "get_device_name": lambda *_: f"{devices.source} simulated on {devices.target}",
        "Stream": SimulatedStream,
        "Event": SimulatedEvent,
        "stream": lambda stream: stream or SimulatedStream(),
        "current_stream": lambda *_: stream,
        "default_stream": lambda *_: stream,
    }


def _random_numbers(target: str) -> dict[str, Callable[..., Any]]:
    """The generator of the device that tensors are really made on.

    The CPU's is seeded by itself: `torch.manual_seed` and `torch.seed` seed all devices and call what is replaced here.
    """
    other: Any = torch if target == "cpu" else torch.get_device_module(target)
    seeded: Any = torch.default_generator if target == "cpu" else other
    return {
        "manual_seed": seeded.manual_seed,
        "manual_seed_all": seeded.manual_seed,
        "seed": seeded.seed,
        "seed_all": seeded.seed,
        "get_rng_state": lambda *_: other.get_rng_state(),
        "set_rng_state": lambda state, *_: other.set_rng_state(state),
    }


def _do_nothing(*_: object, **__: object) -> None:
    """There is nothing to do."""
