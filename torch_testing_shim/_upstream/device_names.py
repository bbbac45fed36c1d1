"""Replaces names of the mapped device type among the arguments of torch's functions, and makes `torch.device("cuda")`
the other device."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch

from torch_testing_shim._shared.device_map import DeviceMap
from torch_testing_shim._upstream.type_slots import made_by_type, replace_methods


class DeviceNames:
    """Translates names of devices in a run that maps one type to another."""

    def __init__(self, devices: DeviceMap) -> None:
        self.devices = devices  # the map
        self.target = torch.device(devices.target)  # the other device, without an index
        #: The module that has the other device's `FloatTensor`.
        self.tensor_types: Any = torch if devices.target == "cpu" else getattr(torch, devices.target)
        self._types = f"torch.{devices.source}."

    def renamed(self, value: Any) -> Any:
        """Return the other device for one that is given by its name or as a device; anything else unchanged.

        Raises:
            RuntimeError: there are not so many simulated devices.
        """
        if isinstance(value, str):
            name, _, index = value.partition(":")
            if name == self.devices.source:
                self.devices.check(int(index) if index.isdecimal() else None)
                return self.devices.target
            return f"torch.{value.removeprefix(self._types)}" if value.startswith(self._types) else value
        if isinstance(value, torch.device) and value.index is not None and value.type == self.target.type:
            self.devices.check(value.index)
            return self.target
        return value

    def device(self, value: Any) -> Any:
        """Do the same for an argument that can only be a device, so that a number is one, too."""
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            self.devices.check(value)
            return self.target
        return self.renamed(value)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function of torch with devices renamed among its arguments."""
        for name, value in kwargs.items():
            kwargs[name] = self.device(value) if name == "device" else self.renamed(value)
        return function(*map(self.renamed, args), **kwargs)

    def call_with_defaults(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Do the same where the function's own defaults may name a device."""
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        return self.call(function, *bound.args, **bound.kwargs)


class Replacement:
    """Stands for a function or a method of torch, and equals it: a handler of `__torch_function__` gets the one and may
    compare it with the other."""

    def __init__(self, original: Callable[..., Any], call: Callable[..., Any]) -> None:
        functools.update_wrapper(self, original, updated=())
        self._original = original
        self._call = call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self._original

    def __hash__(self) -> int:
        return hash(self._original)

    def __reduce__(self) -> str:
        return self._original.__name__


def rename_devices(names: DeviceNames) -> None:
    """Make torch create the other device, and its generators, where the mapped type is named.

    An index is kept where the other device is the CPU, which has none. So `torch.device("cuda:3").index` is 3, and the
    device equals the device of a tensor on it.
    """
    devices, target = names.devices, names.target
    make_device, make_generator = made_by_type(torch.device), made_by_type(torch.Generator)

    def new_device(cls: type, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and isinstance(args[0], int):
            args = (devices.source, *args)
        renamed = [_with_index(value, devices) for value in (*args, *kwargs.values())]
        found = make_device(cls, tuple(renamed[: len(args)]), dict(zip(kwargs, renamed[len(args) :], strict=True)))
        is_renamed = renamed != [*args, *kwargs.values()]
        return target if is_renamed and target.type != "cpu" else found

    def new_generator(cls: type, *args: Any, **kwargs: Any) -> Any:
        return make_generator(cls, tuple(map(names.device, args)), {k: names.device(v) for k, v in kwargs.items()})

    replace_methods(torch.device, {"__new__": new_device, **(_equal_with_any_index() if target.type == "cpu" else {})})
    replace_methods(torch.Generator, {"__new__": new_generator})
    make_storage: Any = torch.UntypedStorage.__new__
    torch.UntypedStorage.__new__ = functools.partial(names.call, make_storage)  # type: ignore[method-assign]


def _with_index(value: Any, devices: DeviceMap) -> Any:
    """Return the name of the other device with the index that is given for the mapped one."""
    if not isinstance(value, str):
        return value
    device_type, colon, index = value.partition(":")
    return f"{devices.target}{colon}{index}" if device_type == devices.source else value


def _equal_with_any_index() -> dict[str, Callable[..., Any]]:
    """Return comparison methods of devices by which the CPU with an index equals the CPU."""
    equal: Callable[..., Any] = torch.device.__eq__
    hash_of: Callable[..., int] = torch.device.__hash__
    same_hash = hash_of(torch.device("cpu"))

    def is_equal(one: torch.device, other: object) -> Any:
        if isinstance(other, torch.device) and one.type == other.type == "cpu" and None in (one.index, other.index):
            return True
        return equal(one, other)

    def differs(one: torch.device, other: object) -> Any:
        is_same = is_equal(one, other)
        return is_same if is_same is NotImplemented else not is_same

    def hashed(device: torch.device) -> int:
        return same_hash if device.type == "cpu" else hash_of(device)

    return {"__eq__": is_equal, "__ne__": differs, "__hash__": hashed}
