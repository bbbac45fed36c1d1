"""Implements `--map-device cuda=cpu`: tensors that a test asks for on one device type are made on another.

`device_table` lists each call's answer. The calls are replaced in all modules of torch that have them, so it holds in
every thread, in C++ that calls Python, under `DisableTorchFunction` and in compiled code.

* `torch.device("cuda:1")` is the other device, and so is everything that is made of it (`type_slots`).
* Functions that take a device have its name among their arguments replaced.
* `device_calls` answers `torch.cuda` and `torch.accelerator`, and `device_objects` methods of tensors.
* `distributed_calls` does the same for process groups, meshes and wrappers that take a device's name.
* `device_modules` runs what torch's modules do on several devices.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NoReturn

import torch
from torch.jit._builtins import _find_builtin, _register_builtin

from torch_testing_shim._engine.driver import DRIVER
from torch_testing_shim._shared.device_map import DeviceMap
from torch_testing_shim._upstream.attention_shards import shard_attention
from torch_testing_shim._upstream.device_calls import AcceleratorCalls, DeviceCalls
from torch_testing_shim._upstream.device_modules import run_on_simulated_devices
from torch_testing_shim._upstream.device_names import DeviceNames, Replacement, rename_devices
from torch_testing_shim._upstream.device_objects import (
    TensorCalls,
    TorchCalls,
    cast_on_target,
    load_to_target,
    make_on_target,
    pinned_as_asked,
    profile_target,
)
from torch_testing_shim._upstream.device_table import TABLE, Row, Way
from torch_testing_shim._upstream.distributed_calls import patch_distributed_calls
from torch_testing_shim._upstream.simulated_devices import SimulatedDevices

_CONSTANTS: Mapping[Way, Any] = {Way.NOTHING: None, Way.ZERO: 0, Way.YES: True, Way.NO: False}
#: Modules that `import torch` does not import.
_IMPORTED_LATE = ("torch.utils._triton", "torch.distributed.tensor")


def install_device_map(devices: DeviceMap) -> None:
    """Map one device type to another for the rest of this process, and in processes that it forks.

    Raises:
        ValueError: torch does not know one of the device types; the message is one sentence.
    """
    for device_type in (devices.source, devices.target):
        try:
            torch.device(device_type)
        except RuntimeError:
            raise ValueError(f"--map-device {devices}: torch knows no device type {device_type!r}") from None
    DRIVER.may_start = True  # there is no driver, and another process would not be mapped
    names = DeviceNames(devices)
    patch_distributed_calls(devices)
    cast_on_target(names)
    profile_target(names)
    load_to_target(names)
    make_on_target(names)
    _replace(_answers(names))
    rename_devices(names)
    run_on_simulated_devices()
    shard_attention()
    _name_missing_calls(devices)


def _name_missing_calls(devices: DeviceMap) -> None:
    """Make a build of torch that lacks C functions for the device say so where one is asked for.

    It has no caching allocator, which a compilation with CUDA graphs asks for, and leaves them out on the CPU.
    """

    def missing(module: str, name: str) -> Any:
        if name == "_cuda_cudaCachingAllocator_is_enabled":
            return lambda: True
        is_known = name.startswith(f"_{devices.source}_") or "nccl" in name.lower()
        note = f": --map-device {devices} does not know this call" if is_known else ""
        raise AttributeError(f"module {module!r} has no attribute {name!r}{note}")

    for module in (torch._C, torch._C._distributed_c10d):
        module.__getattr__ = functools.partial(missing, module.__name__)  # type: ignore[method-assign]


def found_call(row: Row, name: str, source: str) -> tuple[Any, str] | None:
    """Return the object that has a call of the table, and the call's name there; None where this torch lacks it.

    Args:
        row: a row of the table.
        name: one of its names.
        source: the mapped device type.
    """
    if row.owner in _IMPORTED_LATE:
        importlib.import_module(row.owner)
    *owners, last = f"{row.owner}.{name}".replace("torch.cuda.", f"torch.{source}.").split(".")
    try:
        owner = functools.reduce(getattr, owners[1:], torch)
    except AttributeError:
        return None
    return (owner, last) if hasattr(owner, last) else None


def _answers(names: DeviceNames) -> list[tuple[Any, str, Any]]:
    """Return the calls of the table that this torch has and that are replaced, as (owner, name, answer)."""
    simulated, target = SimulatedDevices(names.devices), names.devices.target
    own: dict[str, Any] = {
        "torch.cuda": DeviceCalls(simulated),
        "torch.accelerator": AcceleratorCalls(simulated),
        "torch": TorchCalls(names, simulated),
        "torch.Tensor": TensorCalls(names),
        "torch.cpu": DeviceCalls(simulated),
    }
    answers = []
    for row in TABLE:
        is_answered = row.way not in (Way.TORCH, Way.DISTRIBUTED) and (row.owner != "torch.cpu" or target == "cpu")
        for name in row.names if is_answered else ():
            if (found := found_call(row, name, names.devices.source)) is not None:
                answers.append((*found, _answer(row, name, own.get(row.owner), getattr(*found), names)))
    return answers


def _answer(row: Row, name: str, own: Any, original: Any, names: DeviceNames) -> Any:
    if row.way is Way.REFUSED:
        refuse = _refusal(f"{row.owner}.{name}", names)
        return _stand_in(original, refuse) if callable(original) else _Refused(refuse)
    if row.way is Way.TARGET:
        return functools.reduce(getattr, name.split("."), names.tensor_types)
    if row.way is Way.MAPPED:
        return _stand_in(original, pinned_as_asked(original, names))
    if row.way in _CONSTANTS:
        return _stand_in(original, functools.partial(_constant, _CONSTANTS[row.way]))
    answer = getattr(own, name.replace(".", "_"))
    stands = isinstance(answer, type | FunctionType) or not callable(answer)
    return answer if stands else _stand_in(original, answer)


def _stand_in(original: Callable[..., Any], call: Callable[..., Any]) -> Callable[..., Any]:
    """Make the replacement of a function, or of a class, which stays a class for `isinstance` and annotations."""
    if isinstance(original, type):
        return type(original.__name__, (original,), {"__new__": lambda _, *args, **kwargs: call(*args, **kwargs)})
    return Replacement(original, call)


def _constant(answer: Any, *_: object, **__: object) -> Any:
    return answer


def _refusal(call: str, names: DeviceNames) -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise NotImplementedError(f"{call}: --map-device {names.devices} does not know this call")

    return refuse


class _Refused:
    """Stands for a value whose attributes are not known."""

    def __init__(self, refuse: Callable[..., NoReturn]) -> None:
        self.__dict__["_refuse"] = refuse

    def __getattr__(self, name: str) -> NoReturn:
        self._refuse()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        self._refuse()


def _replace(answers: list[tuple[Any, str, Any]]) -> None:
    """Replace the calls in all modules of torch that have them by now."""
    replaced = {id(getattr(owner, name)): answer for owner, name, answer in answers if callable(getattr(owner, name))}
    find_builtin: Any = _find_builtin  # untyped in torch
    for owner, name, answer in answers:
        if isinstance(answer, Replacement) and (operator := find_builtin(getattr(owner, name))) is not None:
            _register_builtin(answer, operator)  # for TorchScript
        setattr(owner, name, answer)
    for module in [module for name, module in sys.modules.items() if name.partition(".")[0] == "torch"]:
        for name, value in list(vars(module).items()):
            if id(value) in replaced:
                setattr(module, name, replaced[id(value)])
