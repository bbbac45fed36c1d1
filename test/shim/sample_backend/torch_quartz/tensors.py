"""Tensors of the device, and its operators.

A tensor's memory is the host's. DLPack carries it over without a copy, both ways: a capsule of a tensor on one device
is relabelled as one on the other. Torch takes DLPack's device type for extensions, 12, for PrivateUse1.

So an operator is one kernel for all: its arguments are seen as tensors on the CPU, the CPU's operator runs, and what is
new in its result is seen as tensors on the device.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils.dlpack import from_dlpack, to_dlpack

from torch_quartz.device import NAME
from torch_quartz.driver import DRIVER

_DLPACK_CPU, _DLPACK_EXTENSION = 1, 12
#: Where a DLManagedTensor has its device's type and number, two 32-bit integers: behind the pointer to its data.
_DEVICE_OFFSET = ctypes.sizeof(ctypes.c_void_p)
_CPU_KERNELS = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
#: The registrations last as long as these live.
_LIBRARIES: list[torch.library.Library] = []


def is_quartz(value: Any) -> bool:
    """True for a tensor on the device, and for the device itself."""
    if isinstance(value, torch.Tensor):
        return value.device.type == NAME
    return isinstance(value, torch.device) and value.type == NAME


def host_view(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor's memory as a tensor on the CPU."""
    return _relabelled(tensor, _DLPACK_CPU, 0)


def _device_view(tensor: torch.Tensor, index: int) -> torch.Tensor:
    """A CPU tensor's memory as a tensor on the device of this index."""
    DRIVER.use()
    return _relabelled(tensor, _DLPACK_EXTENSION, index)


def _relabelled(tensor: torch.Tensor, device_type: int, index: int) -> torch.Tensor:
    capsule = to_dlpack(tensor)
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    address = pointer_of(capsule, b"dltensor") + _DEVICE_OFFSET
    (ctypes.c_int32 * 2).from_address(address)[:] = [device_type, index]
    return from_dlpack(capsule)


class _Call:
    """One call of an operator: which argument on the device each of the host's tensors stands for."""

    def __init__(self) -> None:
        self._owners: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._index: int | None = None

    def to_host(self, value: Any) -> Any:
        if not is_quartz(value):
            return value
        if isinstance(value, torch.device):
            self._index = value.index if self._index is None else self._index
            return torch.device("cpu")
        # An empty tensor may be one that the operator is to make as large as its result.
        host = host_view(value) if value.numel() else torch.empty_like(value, device="cpu")
        self._owners.append((host, value))
        return host

    def to_device(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        for host, owner in self._owners:
            if value is host:
                return owner
        return self._new(value)

    def give_results_to_the_empty(self) -> None:
        for host, owner in self._owners:
            if host.numel() and not owner.numel():
                _take_memory(owner, self._new(host))

    def _new(self, host: torch.Tensor) -> torch.Tensor:
        index = self._owners[0][1].device.index if self._owners else self._index
        return _device_view(host, index or 0)


def _take_memory(tensor: torch.Tensor, other: torch.Tensor) -> None:
    """Have a tensor be the same as another one."""
    _become(tensor, other.untyped_storage(), other.storage_offset(), other.size(), other.stride())


def _become(tensor: torch.Tensor, *place: Any) -> None:
    """Have a tensor lie elsewhere, as the CPU's kernel can do for any device."""
    torch.ops.aten.set_.source_Storage_storage_offset.redispatch(_CPU_KERNELS, tensor, *place)


def _run_on_host(operator: Any, *args: Any, **kwargs: Any) -> Any:
    """The kernel of every operator."""
    call = _Call()
    args, kwargs = pytree.tree_map(call.to_host, (args, kwargs))
    result = operator(*args, **kwargs)
    call.give_results_to_the_empty()
    return pytree.tree_map(call.to_device, result)


def _copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """The kernel of copies from one device to another, either of which may be the CPU."""
    source, onto = (host_view(each) if is_quartz(each) else each for each in (source, target))
    onto.copy_(source)
    return target


def _resize(tensor: torch.Tensor, size: Any, memory_format: torch.memory_format | None = None) -> torch.Tensor:
    """The kernel of `resize_`. The tensor gets other memory, and views of it keep the old one."""
    host = host_view(tensor).clone().resize_(size, memory_format=memory_format)
    _take_memory(tensor, _device_view(host, tensor.device.index))
    return tensor


def _set_to_storage(tensor: torch.Tensor, storage: Any) -> torch.Tensor:
    """The kernel of `set_` to a whole storage, by which torch copies storages."""
    size = storage.nbytes() // tensor.dtype.itemsize
    _become(tensor, storage, 0, (size,), (1,))
    return tensor


def _to_copy(tensor: torch.Tensor, *, non_blocking: bool = False, **options: Any) -> torch.Tensor:
    """The kernel of `to`. Nothing is copied later, and for that no memory has to be pinned."""
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CompositeExplicitAutograd)
    return torch.ops.aten._to_copy.default.redispatch(keys, tensor, **options)


def register() -> None:
    everything, aten = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    everything.fallback(_run_on_host, "PrivateUse1")
    aten.impl("_copy_from", _copy_from, "PrivateUse1")
    aten.impl("resize_", _resize, "PrivateUse1")
    aten.impl("set_.source_Storage", _set_to_storage, "PrivateUse1")
    aten.impl("_to_copy", _to_copy, "PrivateUse1")
    _LIBRARIES.extend((everything, aten))
