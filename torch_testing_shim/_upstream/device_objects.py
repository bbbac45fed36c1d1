"""Answers of torch's functions and tensors' methods in a run that maps devices, where renaming is not enough.

They are rows of `device_table` that are functions of the simulation. Casts, files and tensors that C++ makes come to
the other device here, too.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, cast

import torch
from torch.amp import GradScaler, autocast
from torch.autograd.profiler import profile

from torch_testing_shim._upstream.device_names import DeviceNames, Replacement
from torch_testing_shim._upstream.simulated_devices import SimulatedDevices, SimulatedEvent, SimulatedStream

#: The registrations last as long as these live.
_LIBRARIES: list[Any] = []


class TorchCalls:
    """Functions of `torch` by their names; `random_fork_rng` is `torch.random.fork_rng`."""

    Stream, Event = SimulatedStream, SimulatedEvent

    def __init__(self, names: DeviceNames, simulated: SimulatedDevices) -> None:
        self._names = names
        self._C__dynamo_utils_get_current_stream = simulated.current_stream  # compiled code of torch 2.15 asks it
        self._utils__get_device_index = self.cuda__utils__get_device_index = lambda device, *_, **__: (
            simulated.index_of(device)
        )
        self.accelerator__utils__get_device_index = self._utils__get_device_index
        self._target = names.devices.target
        self._module = torch.get_device_module
        self._fork_rng = torch.random.fork_rng
        self._is_enabled = torch.is_autocast_enabled
        self._dtype_of, self._set_dtype = torch.get_autocast_dtype, torch.set_autocast_dtype
        parse_to = torch._C._nn._parse_to

        def parse_to_target(*args: Any, **kwargs: Any) -> Any:
            return names.call(parse_to, *map(names.device, args[:1]), *args[1:], **kwargs)

        self._C__nn__parse_to = parse_to_target  # a plain function, as torch.compile expects

    def get_device_module(self, device: torch.device | str | None = None) -> ModuleType:
        devices = self._names.devices
        if device is None or torch.device(device).type == devices.target:
            module: ModuleType = getattr(torch, devices.source, None) or self._module(devices.target)
            return module
        return cast(ModuleType, self._module(device))

    def is_autocast_enabled(self, device_type: str | None = None) -> bool:
        return self._is_enabled(self._names.renamed(device_type) or self._target)

    def get_autocast_dtype(self, device_type: str) -> torch.dtype:
        if device_type == self._names.devices.source and not self._is_enabled(self._target):
            return self._dtype_of(device_type)  # what a cast without a dtype would take
        return self._dtype_of(self._names.renamed(device_type))

    def set_autocast_dtype(self, device_type: str, dtype: torch.dtype) -> None:
        self._set_dtype(device_type, dtype)
        if device_type == self._names.devices.source and self._is_enabled(self._target):
            self._set_dtype(self._target, dtype)

    def get_autocast_gpu_dtype(self) -> torch.dtype:
        return self.get_autocast_dtype(self._names.devices.source)

    def set_autocast_gpu_dtype(self, dtype: torch.dtype) -> None:
        self.set_autocast_dtype(self._names.devices.source, dtype)

    def random_fork_rng(
        self, devices: Any = None, enabled: bool = True, device_type: str | None = None, **_: object
    ) -> AbstractContextManager[None]:
        if self._target == "cpu":
            return self._fork_rng((), enabled)  # which always keeps the CPU's
        return self._fork_rng(None, enabled, device_type=self._target)


class TensorCalls:
    """Methods of tensors by their names, which take the tensor first."""

    def __init__(self, names: DeviceNames) -> None:
        self._names = names
        self._is_cpu = names.target.type == "cpu"
        self._to, self._type = torch.Tensor.to, torch.Tensor.type
        self._pin, self._is_pinned = torch.Tensor.pin_memory, torch.Tensor.is_pinned
        self.is_cuda = property(lambda tensor: tensor.device.type == names.target.type)

    def cuda(self, tensor: torch.Tensor, device: Any = None, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self._to(tensor, self._names.target, *args, **kwargs)

    def to(self, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        return cast(
            torch.Tensor, self._names.call(self._to, tensor, *map(self._names.device, args[:1]), *args[1:], **kwargs)
        )

    def type(self, tensor: torch.Tensor, dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
        return self._type(tensor, self._names.renamed(dtype), *args, **kwargs)

    def record_stream(self, tensor: torch.Tensor, stream: torch.Stream) -> None:
        """Do nothing: memory is freed when nobody holds it."""

    def pin_memory(self, tensor: torch.Tensor, device: Any = None) -> torch.Tensor:
        if not self._is_cpu:
            return self._pin(tensor)
        return tensor if _is_marked(tensor) else _marked(tensor.detach().clone())

    def is_pinned(self, tensor: torch.Tensor, device: Any = None) -> bool:
        return _is_marked(tensor) if self._is_cpu else self._is_pinned(tensor)


def pinned_as_asked(function: Callable[..., Any], names: DeviceNames) -> Callable[..., Any]:
    """Wrap a function of torch that makes tensors: devices are renamed, and the CPU's memory is marked as pinned where
    that is asked for."""

    @functools.wraps(function)
    def make(*args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("pin_memory") or names.target.type != "cpu":
            return names.call(function, *args, **kwargs)
        return _marked(names.call(function, *args, **{**kwargs, "pin_memory": False}))

    return make


def _marked(tensor: torch.Tensor) -> torch.Tensor:
    """Mark a tensor's storage as pinned; torch keeps the storage's Python object with the storage."""
    tensor.untyped_storage().is_simulated_pinned = True  # type: ignore[attr-defined]
    return tensor


def _is_marked(tensor: torch.Tensor) -> bool:
    return getattr(tensor.untyped_storage(), "is_simulated_pinned", False)


def cast_on_target(names: DeviceNames) -> None:
    """Make autocast and gradient scaling for the mapped type work on the other, with the mapped type's default
    dtype."""
    begin: Any = autocast.__init__
    default_dtype = torch.get_autocast_dtype
    source, target = names.devices.source, names.devices.target

    @functools.wraps(begin)
    def begin_on_target(self: Any, device_type: str, dtype: torch.dtype | None = None, *args: Any, **kw: Any) -> None:
        if device_type == source and dtype is None:
            dtype = default_dtype(target if torch.is_autocast_enabled(target) else source)
        begin(self, names.renamed(device_type), dtype, *args, **kw)

    autocast.__init__ = begin_on_target  # type: ignore[method-assign]
    scale: Any = GradScaler.__init__
    GradScaler.__init__ = Replacement(scale, functools.partial(names.call_with_defaults, scale))  # type: ignore


def profile_target(names: DeviceNames) -> None:
    """Make a profile of the mapped device one of the CPU: torch's builds for the CPU warn of each event, or refuse."""
    begin: Any = profile.__init__

    @functools.wraps(begin)
    def begin_on_target(self: Any, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("use_device") == names.devices.source:
            kwargs |= {"use_device": None, "use_cpu": True}
        begin(self, *args, **kwargs)

    profile.__init__ = begin_on_target  # type: ignore[method-assign]


def load_to_target(names: DeviceNames) -> None:
    """Make `torch.load` put storages of the mapped device onto the other."""
    devices = names.devices

    def restored(storage: Any, location: str) -> Any:
        if location.partition(":")[0] not in (devices.source, devices.target):
            return None
        return storage if devices.target == "cpu" else storage.to(names.target)

    register: Any = torch.serialization.register_package  # untyped in torch
    register(0, lambda _: None, restored)  # before torch's own, whose numbers begin with 10


def make_on_target(names: DeviceNames) -> None:
    """Make tensors that C++ makes on the mapped device by its name on the other: in TorchScript, or by operators that
    are called without torch's functions. All ways to make a tensor use these two operators."""
    make_library: Any = torch.library.Library  # untyped in torch
    library = make_library("aten", "IMPL")
    _LIBRARIES.append(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that a CUDA build's kernels are replaced
        for operator in (torch.ops.aten.empty.memory_format, torch.ops.aten.empty_strided.default):
            kernel = functools.partial(_make_there, operator, names.target)
            library.impl(operator, kernel, torch._C._dispatch_key_for_device(names.devices.source))


def _make_there(operator: Callable[..., Any], target: torch.device, *args: Any, **kwargs: Any) -> Any:
    return operator(*args, **{**kwargs, "device": target, "pin_memory": False})
