"""`--map-device cuda=cpu`: what a test asks for on one device type is made on another.

Three layers, each of which sees what the ones before it cannot:

* a `TorchFunctionMode` sees every call of torch that names a device: `torch.device("cuda:1")` is the other device, so
  whatever is made of it is, too; and so are `device="cuda"`, `device=0`, `.to("cuda")`, `.to(0)` and `.cuda()`;
* the table of `device_calls` answers `torch.cuda.*`;
* the table of `distributed_calls` does the same for process groups, meshes and wrappers that take a device's name.

What it does not see: `torch.Generator("cuda")`, which fails as it does without the device, and threads that a test
starts by itself, which have no modes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from torch_testing_shim._device_map import DeviceMap
from torch_testing_shim._upstream.device_calls import patch_device_calls
from torch_testing_shim._upstream.distributed_calls import patch_distributed_calls

__all__ = ["install_device_map"]

#: Functions whose first argument after the tensor is a device where it is a string, a number or a device.
_TAKES_DEVICE_FIRST = {torch.Tensor.to: 1, torch._C._nn._parse_to: 0}


def install_device_map(devices: DeviceMap) -> None:
    """Maps one device type to another for the rest of this process, and in what it forks.

    Raises:
        ValueError: torch knows one of the device types not at all; the message is one sentence.
    """
    for device_type in (devices.source, devices.target):
        try:
            torch.device(device_type)
        except RuntimeError:
            raise ValueError(f"--map-device {devices}: torch knows no device type {device_type!r}") from None
    patch_device_calls(devices)
    patch_distributed_calls(devices)
    _Mapping(devices).__enter__()  # type: ignore[no-untyped-call]


class _Mapping(TorchFunctionMode):
    def __init__(self, devices: DeviceMap) -> None:
        super().__init__()
        self._source = devices.source
        self._target = torch.device(devices.target)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func is torch.device:
            found = torch.device(*args, **named)
            return self._target if found.type == self._source else found
        if getattr(func, "__name__", "") == self._source and args and isinstance(args[0], torch.Tensor):
            return args[0].to(self._target, *args[2:], **{k: v for k, v in named.items() if k != "device"})
        if func is torch.Tensor.pin_memory and self._target.type == "cpu":
            return args[0]
        if "device" in named:
            named["device"] = self._mapped(named["device"])
        if named.get("pin_memory") and self._target.type == "cpu":
            named["pin_memory"] = False
        first = _TAKES_DEVICE_FIRST.get(func)
        if first is not None and len(args) > first:
            args = (*args[:first], self._mapped(args[first]), *args[first + 1 :])
        return func(*args, **named)

    def _mapped(self, device: Any) -> Any:
        """The other device for one that is meant by its name, or by its number; anything else as it is."""
        if isinstance(device, int) and not isinstance(device, bool):
            return self._target
        if isinstance(device, str):
            return self._target if device.partition(":")[0] == self._source else device
        if isinstance(device, torch.device) and device.type == self._source:
            return self._target
        return device
