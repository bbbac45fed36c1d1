"""The device's module, which torch finds by name: `torch.quartz`."""

from __future__ import annotations

from typing import Any

import torch

from torch_quartz import streams
from torch_quartz.driver import DRIVER

NAME = "quartz"
DEVICES = 4


class QuartzModule:
    """`torch.quartz`: four devices, which are there whatever the machine."""

    Stream, Event = streams.Stream, streams.Event
    stream, current_stream = staticmethod(streams.stream), staticmethod(streams.current_stream)

    def is_available(self) -> bool:
        DRIVER.ask()
        return True

    def device_count(self) -> int:
        DRIVER.ask()
        return DEVICES

    def current_device(self) -> int:
        DRIVER.use()
        return 0  # as torch's own guard says, which no set_device changes

    def set_device(self, device: Any) -> None:
        DRIVER.use()

    def is_initialized(self) -> bool:
        return DRIVER.is_in_use

    def synchronize(self, device: Any = None) -> None:
        """Return at once: every operator has ended when it returns."""
        DRIVER.use()

    def manual_seed(self, seed: int) -> None:
        """Do nothing: the random numbers are the CPU's."""

    manual_seed_all = manual_seed

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        DRIVER.use()
        return torch.get_rng_state()

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        DRIVER.use()
        torch.set_rng_state(state)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def _is_in_bad_fork(self) -> bool:
        return DRIVER.is_lost


class QuartzHooks(torch._C._acc.PrivateUse1Hooks):
    """Questions of torch's C++ to the device."""

    def is_available(self) -> bool:
        DRIVER.ask()
        return True

    def is_built(self) -> bool:
        return True

    def has_primary_context(self, device_index: int) -> bool:
        return True


class QuartzGuard(torch._C._acc.DeviceGuard):
    """What torch's C++ calls to change the current device; of Python's it asks the type alone."""

    def type_(self) -> Any:
        return torch._C._autograd.DeviceType.PrivateUse1


def register() -> None:
    torch.utils.rename_privateuse1_backend(NAME)
    torch._register_device_module(NAME, QuartzModule())
    torch.utils.generate_methods_for_privateuse1_backend()
    torch._C._acc.register_python_privateuseone_hook(QuartzHooks())
    torch._C._acc.register_python_privateuseone_device_guard(QuartzGuard())
