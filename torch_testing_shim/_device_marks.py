"""Decorators of generic tests that are made for each device: dtypes, and on which devices a test runs at all.

Each keeps the name, signature and meaning of upstream's (torch 2.13). What skips is asked when the test is about to
run, of the test case's `device_type`, and starts no rank.
"""

from __future__ import annotations

import functools
import unittest
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar, cast

import torch

from torch_testing_shim._rank_free import skip_where

__all__ = [
    "deviceCountAtLeast",
    "dtypes",
    "dtypesIfCPU",
    "dtypesIfCUDA",
    "onlyAccelerator",
    "onlyCPU",
    "onlyCUDA",
    "onlyNativeDeviceTypes",
    "onlyOn",
    "skipCPUIf",
    "skipCUDAIf",
    "skipIf",
    "skipMeta",
    "skipMetaIf",
]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Test = TypeVar("Test", bound=Callable[..., Any])
ALL_DEVICES = "all"


def _device_of(case: unittest.TestCase) -> str:
    device_type: str = case.device_type  # type: ignore[attr-defined]  # of the class made for the device
    return device_type


class dtypes:
    """The dtypes that a test is made for; it gets each as `dtype`, or a tuple of them as `dtypes`.

        @dtypes(torch.float32, torch.float64)                 # test_f_cpu_float32, test_f_cpu_float64
        @dtypes((torch.int64, torch.float32))                 # test_f_cpu_int64_float32

    Args:
        args: dtypes, or tuples of dtypes.
        device_type: the device whose tests they are for, in place of those for all.

    Raises:
        AssertionError: something else is given, or a test has two of them for a device.
    """

    def __init__(self, *args: Any, device_type: str = ALL_DEVICES) -> None:
        are_tuples = bool(args) and isinstance(args[0], (list, tuple))
        for entry in args:
            if isinstance(entry, (list, tuple)) != are_tuples:
                raise AssertionError(f"dtypes takes dtypes or tuples of dtypes, not both: {args}")
            for each in entry if are_tuples else (entry,):
                if not isinstance(each, torch.dtype):
                    raise AssertionError(f"unknown dtype {each!r}")
        self.args, self.device_type = args, device_type

    def __call__(self, fn: Test) -> Test:
        known: dict[str, Any] = getattr(fn, "dtypes", {})
        if self.device_type in known:
            raise AssertionError(f"{fn.__name__} has dtypes for {self.device_type} twice")
        # A new dictionary: a wrapper made by functools.wraps shares the old one with what it wraps.
        fn.dtypes = {**known, self.device_type: self.args}  # type: ignore[attr-defined]
        return fn


class dtypesIfCPU(dtypes):
    """The dtypes of a test on the CPU."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args, device_type="cpu")


class dtypesIfCUDA(dtypes):
    """The dtypes of a test on CUDA."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args, device_type="cuda")


class onlyOn:
    """Skips a test on other devices than these."""

    def __init__(self, device_type: str | Sequence[str]) -> None:
        self.device_type = device_type

    def __call__(self, fn: Test) -> Test:
        wanted = (self.device_type,) if isinstance(self.device_type, str) else tuple(self.device_type)
        return _skipped_unless(lambda device: device in wanted, f"runs on {', '.join(wanted)} only")(fn)


def _skipped_unless(is_wanted: Callable[[str], bool], reason: str) -> Callable[[Test], Test]:
    return skip_where(lambda case: None if is_wanted(_device_of(case)) else reason)


def onlyCPU(fn: Test) -> Test:
    """Skips a test on other devices than the CPU."""
    return onlyOn("cpu")(fn)


def onlyCUDA(fn: Test) -> Test:
    """Skips a test on other devices than CUDA."""
    return onlyOn("cuda")(fn)


def onlyAccelerator(fn: Test) -> Test:
    """Skips a test on the CPU and on the meta device."""
    return _skipped_unless(lambda device: device not in ("cpu", "meta"), "runs on accelerators only")(fn)


def onlyNativeDeviceTypes(fn: Test) -> Test:
    """Skips a test on devices that torch does not have by itself or by a PrivateUse1 extension."""
    native = ("cpu", "cuda", "xpu", "meta", "mps", "mtia", torch._C._get_privateuse1_backend_name())
    return _skipped_unless(lambda device: device in native, "runs on torch's own devices only")(fn)


class skipIf:
    """Skips a test where a condition holds.

    Args:
        dep: the condition, or the name of an attribute of the test case, which counts as true where it is missing.
        reason: why.
        device_type: only tests of this device, or of these; of all where it is None.
    """

    def __init__(self, dep: bool | str, reason: str, device_type: str | Collection[str] | None = None) -> None:
        self.dep, self.reason, self.device_type = dep, reason, device_type

    def __call__(self, fn: Test) -> Test:
        return skip_where(self._reason_for)(fn)

    def _reason_for(self, case: unittest.TestCase) -> str | None:
        devices = (self.device_type,) if isinstance(self.device_type, str) else self.device_type
        if devices is not None and _device_of(case) not in devices:
            return None
        holds = getattr(case, self.dep, True) if isinstance(self.dep, str) else self.dep
        return self.reason if holds else None


class skipCPUIf(skipIf):
    """`skipIf` for tests on the CPU."""

    def __init__(self, dep: bool | str, reason: str) -> None:
        super().__init__(dep, reason, "cpu")


class skipCUDAIf(skipIf):
    """`skipIf` for tests on CUDA."""

    def __init__(self, dep: bool | str, reason: str) -> None:
        super().__init__(dep, reason, "cuda")


class skipMetaIf(skipIf):
    """`skipIf` for tests on the meta device."""

    def __init__(self, dep: bool | str, reason: str) -> None:
        super().__init__(dep, reason, "meta")


def skipMeta(fn: Test) -> Test:
    """Skips a test on the meta device."""
    return skipMetaIf(True, "does not work with meta tensors")(fn)


class deviceCountAtLeast:
    """Gives a test all devices of its type, as `devices`, a list of strings; skips it where there are fewer.

    Raises:
        AssertionError: a test has two of them.
    """

    def __init__(self, num_required_devices: int) -> None:
        self.num_required_devices = num_required_devices

    def __call__(self, fn: Test) -> Test:
        least = self.num_required_devices
        if hasattr(fn, "num_required_devices"):
            raise AssertionError(f"{fn.__name__} has deviceCountAtLeast twice")

        @functools.wraps(fn)
        def wrapper(self: Any, devices: Sequence[str], *args: Any, **kwargs: Any) -> Any:
            if len(devices) < least:
                raise unittest.SkipTest(f"needs at least {least} devices, found {len(devices)}")
            return fn(self, devices, *args, **kwargs)

        wrapper.num_required_devices = least  # type: ignore[attr-defined]
        return cast(Test, wrapper)
