"""Flags of the machine, the build of torch and the run: `IS_WINDOWS`, `TEST_CUDA`, `IS_CI` and the like.

Flags that cost nothing are constants. The others are functions in `LAZY_FLAGS`, called when a test names the flag
(`common_utils` forwards the names): importing the harness must neither start a driver nor read the environment.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from torch_testing_shim._engine.devices import accelerator_count
from torch_testing_shim._engine.driver import current_accelerator
from torch_testing_shim._shared.settings import Settings, SettingsError, read_settings
from torch_testing_shim._upstream.graft import assigned

IS_LINUX = sys.platform == "linux"
IS_WINDOWS = sys.platform == "win32"
IS_MACOS = sys.platform == "darwin"
IS_X86 = platform.machine() in ("x86_64", "i386", "AMD64")
IS_ARM64 = platform.machine() in ("arm64", "aarch64")

#: The start of a URL of torch.distributed's file rendezvous.
FILE_SCHEMA = "file:///" if IS_WINDOWS else "file://"

# Meta's internal environments, which this harness does not know.
IS_SANDCASTLE = False
IS_FBCODE = False
IS_REMOTE_GPU = False

# Ways in which upstream's whole suite can be run and this harness cannot: compiled, or with every call checked twice.
TEST_WITH_TORCHDYNAMO = False
TEST_WITH_TORCHINDUCTOR = False
TEST_WITH_AOT_EAGER = False
TEST_WITH_CROSSREF = False

NO_MULTIPROCESSING_SPAWN = False

#: Fields of the settings -> the flags that test files may assign.
_OF_SETTINGS = {"with_slow": "TEST_WITH_SLOW", "skip_fast": "TEST_SKIP_FAST", "print_repro": "PRINT_REPRO_ON_FAILURE"}
TEST_WITH_ROCM = torch.version.hip is not None


def settings_or_default() -> Settings:
    """Return the settings, or the defaults where they cannot be read.

    For code that runs on import, where a bad variable cannot be reported well: `run_tests` and `TestCase.setUp` read
    the settings too, and report it.
    """
    try:
        return read_settings()
    except SettingsError:
        return Settings()


def as_assigned(settings: Settings) -> Settings:
    """Return the settings, overridden by what test files have assigned to the flags of `common_utils` that stand for
    them."""
    found = {field: assigned("torch_testing_shim.common_utils", name) for field, name in _OF_SETTINGS.items()}
    chosen: dict[str, Any] = {field: bool(value) for field, value in found.items() if value is not None}
    return replace(settings, **chosen)


def is_accelerator(device_type: str) -> bool:
    """Return whether torch's accelerator is of this type and at least one is there, or whether it is a mapped one."""
    devices = settings_or_default().device_map
    if devices is not None and devices.source == device_type:
        return True
    accelerator = current_accelerator()
    return accelerator is not None and accelerator.type == device_type and _accelerators() > 0


def _accelerators() -> int:
    """Return how many accelerators a test may name by index: those leased to the file, or the simulated ones.

    Ranks do not count, even where they may share devices: a test behind TEST_MULTIGPU puts tensors on "cuda:1",
    and sharing makes no second device. The same holds for `deviceCountAtLeast` and `get_all_devices`.
    """
    settings = settings_or_default()
    if (devices := settings.device_map) is not None:
        return devices.count
    count = accelerator_count()
    return count if settings.device_indices is None else min(count, len(settings.device_indices))


def _has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


@functools.cache
def _has_sanitizer(symbol: str) -> bool:
    """Return whether the runtime of a sanitizer is loaded into this process."""
    return not IS_WINDOWS and hasattr(ctypes.CDLL(None), symbol)


#: Flags by name, each with the function that answers it.
LAZY_FLAGS: Mapping[str, Callable[[], bool]] = {
    "IS_CI": lambda: settings_or_default().is_ci,
    "OMIT_SKIPPED_TESTS": lambda: settings_or_default().omit_skipped,
    "PRINT_REPRO_ON_FAILURE": lambda: settings_or_default().print_repro,
    "TEST_ACCELERATOR": lambda: _accelerators() > 0,
    "TEST_CUDA": lambda: is_accelerator("cuda"),
    "TEST_MKL": torch.backends.mkl.is_available,
    "TEST_MPS": lambda: is_accelerator("mps"),
    "TEST_MULTIACCELERATOR": lambda: _accelerators() > 1,
    "TEST_NUMPY": lambda: _has_module("numpy"),
    "TEST_PRIVATEUSE1": lambda: is_accelerator(torch._C._get_privateuse1_backend_name()),
    "TEST_SCIPY": lambda: _has_module("scipy"),
    "TEST_SKIP_FAST": lambda: settings_or_default().skip_fast,
    "TEST_WITH_ASAN": lambda: _has_sanitizer("__asan_init"),
    "TEST_WITH_DEV_DBG_ASAN": lambda: _has_sanitizer("__asan_init"),
    "TEST_WITH_SLOW": lambda: settings_or_default().with_slow,
    "TEST_WITH_TSAN": lambda: _has_sanitizer("__tsan_init"),
    "TEST_WITH_UBSAN": lambda: _has_sanitizer("__ubsan_handle_type_mismatch_v1"),
    "TEST_XPU": lambda: is_accelerator("xpu"),
}
