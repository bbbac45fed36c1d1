"""Upstream's `common_device_type`: generic tests, made for each device of the machine.

Devices and parametrization are torch's own as a whole, since `ops`, `modules`, tolerances and expected failures depend
on how tests are made. Ours is the choice of devices, and that no device is started before a test uses it: a driver that
runs in the test process rules out forked ranks.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import torch

from torch_testing_shim._engine.devices import device_in_use, process_group_backend
from torch_testing_shim._skips.capabilities import (
    Capability as _Capability,
    know_capabilities,
    requires_capabilities as requires_capabilities,
)
from torch_testing_shim._upstream.graft import bound_names, served

# The names of capabilities are torch's where it has them, since a later torch has more.
__getattr__ = served(__name__, {} if "Capability" in bound_names(__name__) else {"Capability": lambda: _Capability})


class _PrecisionOfThread(threading.local):
    """The tolerances that are overridden in this thread; rank threads start with none, as the main thread does."""

    precision = rel_tol = 0.0


class _WhenAsked:
    """A class attribute that is computed at each access, since its value starts the device."""

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask

    def __get__(self, instance: object, owner: type) -> object:
        return self._ask()


def _is_privateuse1_backend_available() -> bool:
    """Answer as torch's function of this name, which starts the device's driver."""
    return device_in_use().type == torch._C._get_privateuse1_backend_name()


is_privateuse1_backend_available = _is_privateuse1_backend_available  # its name in torch 2.11


def get_device_type_test_bases() -> list[Any]:
    """Return the classes that tests are made on: for the CPU, and for the accelerator in use (upstream's name, torch
    2.13)."""
    torchs: Any = sys.modules[__name__]
    torchs.DeviceTypeTestBase._tls = _PrecisionOfThread()
    know_capabilities(torchs.CPUTestBase, "cpu")
    device = device_in_use()
    if device.is_cpu:
        return [torchs.CPUTestBase]
    names = [f"{device.type}:{index}" for index in device.usable]
    if device.type == torch._C._get_privateuse1_backend_name():
        return [torchs.CPUTestBase, _privateuse1_base(torchs.PrivateUse1TestBase, device.type, names)]
    base = getattr(torchs, f"{device.type.upper()}TestBase", None)
    if base is None:
        return [torchs.CPUTestBase]
    _know_devices(base, names)
    know_capabilities(base, device.type)
    if device.type == "cuda":
        cudnn: Any = torch.backends.cudnn  # untyped in torch
        base.no_magma = _WhenAsked(lambda: not torch.cuda.has_magma)
        base.no_cudnn = _WhenAsked(lambda: not cudnn.is_acceptable(torch.ones(1, device="cuda")))
        base.cudnn_version = _WhenAsked(lambda: None if base.no_cudnn else cudnn.version())
        return [torchs.CPUTestBase, base]
    return [torchs.CPUTestBase]  # torch adds the others where a file allows them


def _know_devices(base: Any, names: list[str]) -> None:
    base.primary_device = names[0]
    base.get_all_devices = classmethod(lambda cls: names)
    base.setUpClass = classmethod(lambda cls: None)
    base.distributed_backend = classmethod(lambda cls: process_group_backend(torch.device(names[0]).type))


def _privateuse1_base(base: Any, device_type: str, names: list[str]) -> Any:
    def set_up_class(cls: Any) -> None:  # from then on the classes go by the device's own name
        base.device_type, base.device_mod = device_type, getattr(torch, device_type, None)

    _know_devices(base, names)
    know_capabilities(base, device_type)
    base.setUpClass = classmethod(set_up_class)
    return base
