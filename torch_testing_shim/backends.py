"""For packages that bring a device: a record of what torch cannot know of it, and tests that depend on it.

Such a package can be tested without any of this: torch knows its device type, number of devices and process-group
backend. A record adds what torch has no place for. In `torch_foo/harness.py`:

    from torch_testing_shim.backends import Backend

    backend = Backend("foo", fork_safe=False, capabilities=frozenset({"symmetric_memory"}))

and in the package's setup.cfg:

    [options.entry_points]
    torch_testing_shim.backends =
        foo = torch_foo.harness:backend

or in its pyproject.toml:

    [project.entry-points."torch_testing_shim.backends"]
    foo = "torch_foo.harness:backend"

Records of installed packages are loaded in a test process and in the warm interpreter of run_test.py, before ranks are
forked, and never when this package is imported; so loading one must neither start a thread nor use the device. The
entry point's name is for people. A record that cannot be loaded, is not a `Backend`, or is the second for its device
ends a run with one sentence and exit status 2, whichever device is in use.

A rank's number is not its device's index, since a file may be leased only some devices of the machine: a hook finds the
rank's device by `rank_device(rank)`.

Capabilities that the harness itself asks for:

    multicast_memory              `requires_multicast_support`
    symmetric_memory              `evaluate_platform_supports_symm_mem`
    flash_attention               `common_cuda.PLATFORM_SUPPORTS_FLASH_ATTENTION`
    memory_efficient_attention    `common_cuda.PLATFORM_SUPPORTS_MEM_EFF_ATTENTION`

"flash_attention", "memory_efficient_attention", "dtype.fp8" and "dtype.bf16" also answer `requires_capabilities` of
tests that are made for each device (`common_device_type.Capability`), as does any other name.

A package may name others, which its own tests require by `requires_capability`.
"""

from __future__ import annotations

import unittest
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch_testing_shim._engine.backend_records import Backend, BackendHookError
from torch_testing_shim._engine.devices import DeviceError, declares, device_in_use, rank_device
from torch_testing_shim._skips.capabilities import (
    PLATFORM_SUPPORTS_FLASH_ATTENTION,
    PLATFORM_SUPPORTS_MEM_EFF_ATTENTION,
    evaluate_platform_supports_symm_mem,
    has_multicast_memory,
)
from torch_testing_shim._skips.conditions import skip_where

__all__ = ["Backend", "BackendHookError", "DeviceError", "has_capability", "rank_device", "requires_capability"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Test = TypeVar("Test", bound=Callable[..., Any])

#: Capabilities that are known even of devices without a record.
_KNOWN: Mapping[str, Callable[[], bool]] = {
    "multicast_memory": has_multicast_memory,
    "symmetric_memory": evaluate_platform_supports_symm_mem,
    "flash_attention": lambda: bool(PLATFORM_SUPPORTS_FLASH_ATTENTION),
    "memory_efficient_attention": lambda: bool(PLATFORM_SUPPORTS_MEM_EFF_ATTENTION),
}


def has_capability(name: str) -> bool:
    """Return whether the device in use has a capability, by its record, or by torch where torch knows.

    Raises:
        DeviceError: the device cannot be used, or an installed package's record cannot.
    """
    return declares(name) or (name in _KNOWN and _KNOWN[name]())


def requires_capability(name: str) -> Callable[[Test], Test]:
    """Skip a test, before any rank starts, where the device in use does not have this capability:

    @requires_capability("symmetric_memory")
    @with_comms
    def test_handles(self): ...
    """

    def condition(_: unittest.TestCase) -> str | None:
        return None if has_capability(name) else f"needs {name!r}, which {device_in_use().type} does not have"

    return skip_where(condition)
