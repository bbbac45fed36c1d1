"""Generic tests, made for each device of the machine: a class per device, a method per case and dtype.

class TestFoo(TestCase):                         TestFooCPU.test_bar_x_1_cpu_float32
    @dtypes(torch.float32, torch.float64)        TestFooCPU.test_bar_x_1_cpu_float64
    @parametrize("x", [1])                       TestFooCUDA.test_bar_x_1_cuda_float32 ...
    def test_bar(self, device, dtype, x): ...

instantiate_device_type_tests(TestFoo, globals())
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from typing import Any

import torch

from torch_testing_shim._device_marks import ALL_DEVICES
from torch_testing_shim._engine.devices import device_in_use, process_group_backend
from torch_testing_shim._flags import settings_or_default
from torch_testing_shim._parameter_cases import Case
from torch_testing_shim._parametrization import Parametrizer, add_cases, parametrizers_of
from torch_testing_shim.common_utils import TestCase

__all__ = ["DeviceTypeTestBase", "instantiate_device_type_tests"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

PRIVATEUSE1 = "privateuse1"


class DeviceTypeTestBase(TestCase):
    """What the classes made for devices have in common (upstream's `DeviceTypeTestBase`, torch 2.13).

    Attributes:
        device_type: the device, as `torch.device` takes it.
    """

    device_type: str = "generic_device_type"

    @classmethod
    def get_primary_device(cls) -> str:
        """The device that a test gets as `device`."""
        if cls.device_type in ("cpu", "meta"):
            return cls.device_type
        device = device_in_use()
        return f"{cls.device_type}:{device.usable[0] if device.type == cls.device_type else 0}"

    @classmethod
    def get_all_devices(cls) -> list[str]:
        """All devices of this type, which a test with `deviceCountAtLeast` gets as `devices`."""
        device = device_in_use()
        if device.is_cpu or cls.device_type != device.type:
            return [cls.get_primary_device()]
        return [f"{device.type}:{index}" for index in device.usable]

    @classmethod
    def distributed_backend(cls) -> str:
        """The process-group backend of this device."""
        return process_group_backend(cls.device_type)


class _OneCase(Parametrizer):
    """A single case, which gives a test its device."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def cases(self, test_name: str) -> Iterable[Case]:
        return [self._case]


class _DtypeCases(Parametrizer):
    """A case for each dtype that `dtypes` asks for."""

    def __init__(self, entries: Sequence[Any]) -> None:
        self._entries = entries

    def cases(self, test_name: str) -> Iterable[Case]:
        for entry in self._entries:
            several = isinstance(entry, (list, tuple))
            names = "_".join(str(each).removeprefix("torch.") for each in (entry if several else (entry,)))
            yield Case(names, {"dtypes" if several else "dtype": entry})


def instantiate_device_type_tests(
    generic_test_class: type[TestCase],
    scope: MutableMapping[str, Any],
    except_for: str | Iterable[str] | None = None,
    only_for: str | Iterable[str] | None = None,
    include_lazy: bool = False,
    allow_mps: bool = False,
    allow_xpu: bool = False,
) -> None:
    """Replaces a generic test class by one class for each device: the CPU, and the accelerator in use (upstream's
    `instantiate_device_type_tests`, torch 2.13).

    A test gets `device` (or `devices`), `dtype` and its parameters as far as its signature has them. With the CPU
    chosen by hand there are classes for the CPU only. PYTORCH_TESTING_DEVICE_ONLY_FOR and its counterpart narrow it.

    Args:
        generic_test_class: the class; its tests are taken from it.
        scope: the module's globals, in which the classes are put in its place.
        except_for, only_for: device types; "privateuse1" stands for what registered itself as that.
        include_lazy: the lazy device too, which this harness does not have.
        allow_mps, allow_xpu: also where the accelerator is of this type, which needs to be allowed.

    Raises:
        AssertionError: a device is both wanted and not, or a test has `dtypesIf...` without `dtypes`.
        NotImplementedError: the lazy device is asked for.
        ValueError: a decorator is used wrongly, or two tests would have the same name.
    """
    if include_lazy:
        raise NotImplementedError("tests of the lazy device cannot be made by this harness")
    del scope[generic_test_class.__name__]
    tests = {name: test for name, test in vars(generic_test_class).items() if name.startswith("test")}
    for name in tests:
        delattr(generic_test_class, name)
    for device in _devices(_as_names(except_for), _as_names(only_for), {"mps": allow_mps, "xpu": allow_xpu}):
        made = _class_for(generic_test_class, device)
        for name, test in tests.items():
            add_cases(made, name, test, _parametrizers(made, test))
        scope[made.__name__] = made


def _devices(except_for: set[str], only_for: set[str], allowed: dict[str, bool]) -> list[str]:
    if both := except_for & only_for:
        raise AssertionError(f"{', '.join(sorted(both))} stands in both except_for and only_for")
    settings = settings_or_default()
    chosen_out = except_for | _as_names(settings.except_devices)
    chosen = [names for names in (only_for, _as_names(settings.only_devices)) if names]
    here = dict.fromkeys(["cpu", device_in_use().type])
    wanted = (device for device in here if all(device in names for names in chosen))
    return [device for device in wanted if device not in chosen_out and allowed.get(device, True)]


def _as_names(devices: str | Iterable[str] | None) -> set[str]:
    own_name = torch._C._get_privateuse1_backend_name()
    names = (devices,) if isinstance(devices, str) else devices or ()
    return {own_name if name == PRIVATEUSE1 else name for name in names}


def _class_for(generic: type[TestCase], device: str) -> type[DeviceTypeTestBase]:
    suffix = PRIVATEUSE1 if device == torch._C._get_privateuse1_backend_name() else device
    name = f"{generic.__name__}{suffix.upper()}"
    namespace = {"__module__": generic.__module__, "__qualname__": name, "device_type": device}
    return type(name, (DeviceTypeTestBase, generic), namespace)


def _parametrizers(made: type[DeviceTypeTestBase], test: Callable[..., Any]) -> list[Parametrizer]:
    parameters = inspect.signature(test).parameters
    arguments: dict[str, Any] = {}
    if hasattr(test, "num_required_devices"):
        arguments = {"devices": made.get_all_devices()}
    elif "device" in parameters or "devices" in parameters:
        arguments = {"device" if "device" in parameters else "devices": made.get_primary_device()}
    device = _OneCase(Case(made.device_type, arguments))
    wanted: dict[str, Any] | None = getattr(test, "dtypes", None)
    if wanted is None:
        return [*parametrizers_of(test), device]
    if ALL_DEVICES not in wanted:
        raise AssertionError(f"{test.__name__} has dtypes for one device only: @dtypes for all others is missing")
    return [*parametrizers_of(test), device, _DtypeCases(wanted.get(made.device_type, wanted[ALL_DEVICES]))]
