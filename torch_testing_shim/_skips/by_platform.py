"""Decorators that skip a test by what the machine and the build of torch can do; `common_distributed` has them."""

from __future__ import annotations

import importlib.util
import unittest
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from torch_testing_shim._engine.devices import declares, device_in_use
from torch_testing_shim._engine.driver import DRIVER
from torch_testing_shim._skips.conditions import skip_where
from torch_testing_shim._skips.flags import TEST_WITH_ROCM

__all__ = [
    "evaluate_platform_supports_symm_mem",
    "has_multicast_memory",
    "import_transformers_or_skip",
    "requires_multicast_support",
    "requires_nccl_shrink",
    "requires_nccl_version",
    "skip_if_rocm",
    "skip_if_rocm_arch_multiprocess",
    "skip_if_rocm_multiprocess",
    "skip_if_rocm_ver_lessthan_multiprocess",
    "sm_is_or_higher_than",
]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Test = TypeVar("Test", bound=Callable[..., Any])

#: Of AMD's GPUs, those with symmetric memory (torch 2.13).
_ROCM_SYMMETRIC_MEMORY = ("gfx942", "gfx950")


def requires_nccl_version(version: tuple[int, ...], msg: str) -> Callable[[Test], Test]:
    """Skips a test on CUDA where NCCL is missing or older than `version`; on other devices it runs (upstream's name,
    torch 2.13).

    Args:
        version: the oldest that would do, as `torch.cuda.nccl.version()` gives it: (2, 27).
        msg: why.
    """

    def condition(_: unittest.TestCase) -> str | None:
        if device_in_use().type != "cuda":
            return None
        if not dist.is_nccl_available():
            return "torch was built without NCCL"
        found = torch.cuda.nccl.version()  # type: ignore[no-untyped-call]
        return None if found >= tuple(version) else f"needs NCCL {_dotted(version)}, found {_dotted(found)}: {msg}"

    return skip_where(condition)


def requires_nccl_shrink() -> Callable[[Test], Test]:
    """Skips a test on CUDA where NCCL cannot shrink a group, which came with 2.27 (upstream's name, torch 2.13)."""
    return requires_nccl_version((2, 27), "an older one cannot shrink a group")


def requires_multicast_support() -> Callable[[Test], Test]:
    """Skips where the device has no multicast memory (upstream's name, torch 2.13)."""
    return skip_where(lambda _: None if has_multicast_memory() else "needs a device with multicast memory")


def has_multicast_memory() -> bool:
    """Whether the device in use has multicast memory: as torch says of CUDA, and the package of another device."""
    if device_in_use().type != "cuda":
        return declares("multicast_memory")
    return DRIVER.ask(_cuda_has_multicast_memory)


def _cuda_has_multicast_memory() -> bool:
    memory: Any = torch._C._distributed_c10d._SymmetricMemory
    return bool(memory.has_multicast_support(torch._C._autograd.DeviceType.CUDA, 0))


def evaluate_platform_supports_symm_mem() -> bool:
    """Whether the device in use has symmetric memory (upstream's name, torch 2.13): as is known of CUDA and ROCm,
    and as the package of another device says."""
    if device_in_use().type != "cuda":
        return declares("symmetric_memory")
    return not TEST_WITH_ROCM or any(arch in _rocm_arch() for arch in _ROCM_SYMMETRIC_MEMORY)


def import_transformers_or_skip() -> Callable[[Test], Test]:
    """Skips where the package `transformers` is not installed (upstream's name, torch 2.13)."""

    def condition(_: unittest.TestCase) -> str | None:
        found = importlib.util.find_spec("transformers")
        return None if found is not None else "the package transformers is not installed"

    return skip_where(condition)


def skip_if_rocm_multiprocess(func: Test) -> Test:
    """Skips on ROCm (upstream's name, torch 2.13)."""
    return unittest.skipIf(TEST_WITH_ROCM, "does not run on ROCm")(func)


skip_if_rocm = skip_if_rocm_multiprocess  # the name of torch 2.4


def skip_if_rocm_arch_multiprocess(arch: Sequence[str]) -> Callable[[Test], Test]:
    """Skips on ROCm GPUs of the architectures given, "gfx90a" for example (upstream's name, torch 2.13)."""

    def condition(_: unittest.TestCase) -> str | None:
        return f"does not run on {_rocm_arch()}" if TEST_WITH_ROCM and _rocm_arch() in arch else None

    return skip_where(condition)


def skip_if_rocm_ver_lessthan_multiprocess(version: Sequence[int] | None = None) -> Callable[[Test], Test]:
    """Skips on a ROCm older than `version`, or on any where that is None (upstream's name, torch 2.13)."""
    found = tuple(int(part) for part in str(torch.version.hip).partition("-")[0].split(".")) if TEST_WITH_ROCM else ()
    is_too_old = TEST_WITH_ROCM and (version is None or found < tuple(version))
    wanted = "another platform" if version is None else f"ROCm {_dotted(version)}"
    return unittest.skipIf(is_too_old, f"needs {wanted}, found ROCm {_dotted(found)}")


def sm_is_or_higher_than(device: torch.device, major: int, minor: int) -> bool:
    """Whether a device has at least this CUDA capability: true for devices that are not CUDA's, false for ROCm
    (upstream's name, torch 2.13)."""
    if device.type != "cuda":
        return True
    return not TEST_WITH_ROCM and DRIVER.ask(torch.cuda.get_device_capability, device) >= (major, minor)


def _rocm_arch() -> str:
    return DRIVER.ask(_first_rocm_arch)


def _first_rocm_arch() -> str:
    return str(torch.cuda.get_device_properties(0).gcnArchName).partition(":")[0]


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
