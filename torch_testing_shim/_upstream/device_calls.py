"""Answers of `torch.cuda`, or of another mapped device type's module, and of `torch.accelerator`: the rows of
`device_table` that are functions of the simulation."""

from __future__ import annotations

import functools
import linecache
import sys
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import torch

from torch_testing_shim._upstream.simulated_devices import (
    CAPABILITY,
    DeviceProperties,
    SimulatedDevices,
    SimulatedEvent,
    SimulatedStream,
    host_memory,
)


class _Streams:
    """Answers about streams and memory, for the thread that asks."""

    def __init__(self, simulated: SimulatedDevices) -> None:
        self._simulated = simulated
        self._map = simulated.map
        self.current_stream, self.set_stream = simulated.current_stream, simulated.set_stream

    def device_count(self) -> int:
        return self._map.count

    def memory_stats(self, device: Any = None) -> Counter[str]:
        return Counter()

    def get_memory_info(self, device: Any = None) -> tuple[int, int]:
        return host_memory()


class DeviceCalls(_Streams):
    """The functions of `torch.cuda` by their names; `nccl_version` stands for `torch.cuda.nccl.version`."""

    Stream, Event = SimulatedStream, SimulatedEvent

    def __init__(self, simulated: SimulatedDevices) -> None:
        super().__init__(simulated)
        target = self._map.target
        self._random: Any = torch if target == "cpu" else torch.get_device_module(target)
        # Not torch.manual_seed and torch.seed, which seed all devices and call what is replaced here.
        self._generator: Any = torch.default_generator if target == "cpu" else self._random
        self.manual_seed = self.manual_seed_all = self._generator.manual_seed
        self.seed = self.seed_all = self._generator.seed
        self.default_generators = (self._generator,) * self._map.count
        self.device = self.device_of = self._DeviceGuard = simulated.chosen
        self._exchange_device = self._maybe_exchange_device = simulated.choose
        self.default_stream = simulated.default_stream
        self.mem_get_info = self.get_memory_info
        self.host_memory_stats = self.memory_stats
        self.amp_custom_fwd = functools.partial(torch.amp.custom_fwd, device_type=target)
        self.amp_custom_bwd = functools.partial(torch.amp.custom_bwd, device_type=target)
        self._sync_debug_mode = 0

    def _lazy_init(self) -> None:
        """Refuse: torch and its C++ call it before they use a real device, so some call is not in the table.

        Raises:
            NotImplementedError: always.
        """
        caller = sys._getframe(2)  # behind the stand-in for torch's function
        line = linecache.getline(caller.f_code.co_filename, caller.f_lineno).strip()
        raise NotImplementedError(f"--map-device {self._map} does not know a call in {line!r}, which needs the device")

    def current_device(self) -> int:
        return self._simulated.index

    def set_device(self, device: Any) -> None:
        self._simulated.choose(device)

    def stream(self, stream: SimulatedStream | None) -> AbstractContextManager[Any]:
        return nullcontext() if stream is None else stream

    StreamContext = stream

    def initial_seed(self, device: Any = None) -> int:
        return int(self._random.initial_seed())

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        state: torch.Tensor = self._random.get_rng_state()
        return state

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        self._random.set_rng_state(state)

    def get_rng_state_all(self) -> list[torch.Tensor]:
        return [self.get_rng_state() for _ in range(self._map.count)]

    def set_rng_state_all(self, states: list[torch.Tensor]) -> None:
        for state in states:
            self.set_rng_state(state)

    def memory_stats_as_nested_dict(self, device: Any = None) -> dict[str, Any]:
        return {}

    host_memory_stats_as_nested_dict = memory_stats_as_nested_dict

    def memory_snapshot(self, *_: object, **__: object) -> list[Any]:
        return []

    def memory_summary(self, device: Any = None, abbreviated: bool = False) -> str:
        return f"{self.get_device_name()}: no memory of its own"

    def get_device_name(self, device: Any = None) -> str:
        return f"simulated {self._map.source} ({self._map.target})"

    def get_device_capability(self, device: Any = None) -> tuple[int, int]:
        return CAPABILITY

    def get_device_properties(self, device: Any = None) -> DeviceProperties:
        self._simulated.index_of(device)
        return DeviceProperties(self.get_device_name(), host_memory()[1])

    def get_arch_list(self) -> list[str]:
        return []

    def get_allocator_backend(self) -> str:
        return "native"

    def get_sync_debug_mode(self) -> int:
        return self._sync_debug_mode

    def set_sync_debug_mode(self, debug_mode: int | str) -> None:
        modes = ("default", "warn", "error")
        self._sync_debug_mode = modes.index(debug_mode) if isinstance(debug_mode, str) else debug_mode

    def cudart(self) -> Any:
        return _Runtime(self._map)

    def check_error(self, res: int) -> None:
        if res:
            raise torch.cuda.CudaError(res)

    def nccl_version(self) -> tuple[int, int, int]:
        return (2, 20, 5)


class AcceleratorCalls(_Streams):
    """The functions of `torch.accelerator` by their names."""

    def __init__(self, simulated: SimulatedDevices) -> None:
        super().__init__(simulated)
        self.device_index = simulated.chosen
        self.set_device_index = self.set_device_idx = DeviceCalls.set_device.__get__(self)
        self.current_device_index = self.current_device_idx = DeviceCalls.current_device.__get__(self)
        self.synchronize = self.empty_cache = self.empty_host_cache = _do_nothing
        self.reset_accumulated_memory_stats = self.reset_peak_memory_stats = _do_nothing
        self.memory_allocated = self.max_memory_allocated = _zero
        self.memory_reserved = self.max_memory_reserved = _zero
        same = DeviceCalls(simulated)
        self.random_manual_seed, self.random_manual_seed_all = same.manual_seed, same.manual_seed_all
        self.random_seed, self.random_seed_all, self.random_initial_seed = same.seed, same.seed_all, same.initial_seed
        self.random_get_rng_state, self.random_get_rng_state_all = same.get_rng_state, same.get_rng_state_all
        self.random_set_rng_state, self.random_set_rng_state_all = same.set_rng_state, same.set_rng_state_all

    def is_available(self) -> bool:
        return True

    def current_accelerator(self, check_available: bool = False) -> torch.device:
        return torch.device(self._map.target)

    def get_device_capability(self, device: Any = None) -> dict[str, Any]:
        return {"supported_dtypes": {value for value in vars(torch).values() if isinstance(value, torch.dtype)}}


class _Runtime(SimpleNamespace):
    """The CUDA runtime's functions that have nothing to do where all memory is the host's."""

    def __init__(self, devices: object) -> None:
        done = ("cudaHostRegister", "cudaHostUnregister", "cudaProfilerStart", "cudaProfilerStop")
        super().__init__(**dict.fromkeys(done, lambda *_: 0), _devices=devices)

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(f"torch.cuda.cudart().{name}: --map-device {self._devices} does not know this call")


def _do_nothing(*_: object, **__: object) -> None:
    """Do nothing."""


def _zero(*_: object, **__: object) -> int:
    return 0
