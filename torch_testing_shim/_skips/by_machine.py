"""Decorators that skip a test by the machine, the build of torch or the run.

`common_utils` and `common_distributed` pass them on. A condition is checked when the test is about to run (see
`conditions`); `lazy_skip_if` checks a class's condition when it is decorated. Each keeps the name, signature and
meaning of upstream's decorator (torch 2.13).
"""

from __future__ import annotations

import importlib.util
import sys
import unittest
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist

from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._shared.settings import runs_under_pytest
from torch_testing_shim._skips.capabilities import has_multicast_memory, rocm_arch
from torch_testing_shim._skips.conditions import skip_where
from torch_testing_shim._skips.flags import (
    IS_WINDOWS,
    LAZY_FLAGS,
    TEST_WITH_ROCM,
    TEST_WITH_TORCHDYNAMO,
    as_assigned,
    settings_or_default,
)

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Item = TypeVar("Item", bound=Callable[..., Any])  # a test method or a class of tests

#: The attribute that `slowTest` sets on a test method; upstream's name.
SLOW_MARK = "slow_test"
SLOW_REASON = "test is slow; set PYTORCH_TEST_WITH_SLOW=1 to run it"


def lazy_skip_if(condition_fn: Callable[[], bool], reason: str) -> Callable[[Item], Item]:
    """Skip a test method where `condition_fn()` is true when it is about to run, a class where it is true now."""

    def decorate(item: Item) -> Item:
        if isinstance(item, type):
            return cast(Item, unittest.skipIf(condition_fn(), reason)(item))
        return skip_where(lambda _: reason if condition_fn() else None)(item)

    return decorate


def requires_cuda(test_item: Item) -> Item:
    """Skip where there is no CUDA device."""
    return lazy_skip_if(lambda: not LAZY_FLAGS["TEST_CUDA"](), "needs a CUDA device")(test_item)


def requires_accelerator(test_item: Item) -> Item:
    """Skip where there is no accelerator (upstream's name, torch 2.15)."""
    return lazy_skip_if(lambda: not LAZY_FLAGS["TEST_ACCELERATOR"](), "needs an accelerator")(test_item)


def requires_multigpu(fn: Item) -> Item:
    """Skip where there are fewer than two accelerators, and set pytest's mark `multigpu` (upstream's name, torch
    2.15, which counts CUDA devices alone)."""
    skipping = lazy_skip_if(lambda: not LAZY_FLAGS["TEST_MULTIACCELERATOR"](), "needs at least 2 accelerators")
    return _marked("multigpu", skipping(fn))


def requires_nccl_version(version: tuple[int, ...], msg: str) -> Callable[[Item], Item]:
    """Skip a test on CUDA, also a mapped one, where NCCL is missing or older than `version`; on other devices it runs
    (upstream's name, torch 2.13).

    Args:
        version: the oldest that suffices, in the form of `torch.cuda.nccl.version()`: (2, 27).
        msg: the reason.
    """

    def condition(_: unittest.TestCase) -> str | None:
        devices = settings_or_default().device_map
        if (devices.source if devices else device_in_use().type) != "cuda":
            return None
        if not dist.is_nccl_available():
            return "torch was built without NCCL"
        found = torch.cuda.nccl.version()  # type: ignore[no-untyped-call]
        return None if found >= tuple(version) else f"needs NCCL {_dotted(version)}, found {_dotted(found)}: {msg}"

    return skip_where(condition)


def requires_nccl_shrink() -> Callable[[Item], Item]:
    """Skip a test on CUDA where NCCL cannot shrink a group, which came with 2.27 (upstream's name, torch 2.13)."""
    return requires_nccl_version((2, 27), "an older one cannot shrink a group")


def requires_multicast_support() -> Callable[[Item], Item]:
    """Skip where the device has no multicast memory (upstream's name, torch 2.13)."""
    return skip_where(lambda _: None if has_multicast_memory() else "needs a device with multicast memory")


def skipIfRocm(
    func: Item | None = None, *, msg: str = "test doesn't currently work on the ROCm stack"
) -> Item | Callable[[Item], Item]:
    """Skip where torch was built for ROCm; used bare or with a message."""
    decorate: Callable[[Item], Item] = lazy_skip_if(lambda: TEST_WITH_ROCM, f"skipIfRocm: {msg}")
    return decorate if func is None else decorate(func)


def skip_if_rocm_multiprocess(func: Item) -> Item:
    """Skip on ROCm (upstream's name, torch 2.13)."""
    return unittest.skipIf(TEST_WITH_ROCM, "does not run on ROCm")(func)


skip_if_rocm = skip_if_rocm_multiprocess  # the name of torch 2.4


def skip_if_rocm_arch_multiprocess(arch: Sequence[str]) -> Callable[[Item], Item]:
    """Skip on ROCm GPUs of the architectures given, "gfx90a" for example (upstream's name, torch 2.13)."""

    def condition(_: unittest.TestCase) -> str | None:
        return f"does not run on {rocm_arch()}" if TEST_WITH_ROCM and rocm_arch() in arch else None

    return skip_where(condition)


def skip_if_rocm_ver_lessthan_multiprocess(version: Sequence[int] | None = None) -> Callable[[Item], Item]:
    """Skip on a ROCm older than `version`, or on any where that is None (upstream's name, torch 2.13)."""
    found = tuple(int(part) for part in str(torch.version.hip).partition("-")[0].split(".")) if TEST_WITH_ROCM else ()
    is_too_old = TEST_WITH_ROCM and (version is None or found < tuple(version))
    wanted = "another platform" if version is None else f"ROCm {_dotted(version)}"
    return unittest.skipIf(is_too_old, f"needs {wanted}, found ROCm {_dotted(found)}")


def skip_if_win32() -> Callable[[Item], Item]:
    """Skip on Windows (upstream's `skip_if_win32`, torch 2.13)."""
    return unittest.skipIf(IS_WINDOWS, "does not run on Windows")


def import_transformers_or_skip() -> Callable[[Item], Item]:
    """Skip where the package `transformers` is not installed (upstream's name, torch 2.13)."""

    def condition(_: unittest.TestCase) -> str | None:
        found = importlib.util.find_spec("transformers")
        return None if found is not None else "the package transformers is not installed"

    return skip_where(condition)


def skipIfTorchDynamo(msg: str = "test doesn't currently work with dynamo") -> Callable[[Item], Item]:
    """Skip where the suite runs compiled, which this harness never does. It takes a message, so it has to be
    called."""
    if not isinstance(msg, str):
        raise TypeError("skipIfTorchDynamo takes a message: write @skipIfTorchDynamo() or @skipIfTorchDynamo('why')")
    return lazy_skip_if(lambda: TEST_WITH_TORCHDYNAMO, msg)


def skip_but_pass_in_sandcastle(reason: str) -> Callable[[Item], Item]:
    """Skip. (This harness does not know Meta's sandcastle, where upstream lets such tests pass.)"""
    return skip_but_pass_in_sandcastle_if(True, reason)


def skip_but_pass_in_sandcastle_if(condition: bool, reason: str) -> Callable[[Item], Item]:
    """Skip where `condition` is true. (This harness does not know Meta's sandcastle, where upstream lets such tests
    pass.)"""
    return unittest.skipIf(condition, reason)


def skip_if_pytest(fn: Item) -> Item:
    """Skip where pytest runs the tests."""
    return lazy_skip_if(runs_under_pytest, "does not work under pytest")(fn)


def slowTest(fn: Item) -> Item:
    """Mark a slow test: it runs only where PYTORCH_TEST_WITH_SLOW is set."""
    marked = lazy_skip_if(lambda: not as_assigned(settings_or_default()).with_slow, SLOW_REASON)(fn)
    setattr(marked, SLOW_MARK, True)
    return marked


def slowTestIf(condition: bool) -> Callable[[Item], Item]:
    """`slowTest` where `condition` is true."""
    return slowTest if condition else lambda fn: fn


def serialTest(condition: bool = True) -> Callable[[Item], Item]:
    """Mark a test (pytest's mark `serial`) that must not run beside others, where `condition` is true.

    Raises:
        TypeError: used without brackets.
    """
    if not isinstance(condition, bool):
        raise TypeError("serialTest takes a condition: write @serialTest()")

    return (lambda fn: _marked("serial", fn)) if condition else (lambda fn: fn)


def _marked(mark: str, item: Item) -> Item:
    pytest = sys.modules.get("pytest")  # where pytest does not run the tests, nobody reads its marks
    return cast(Item, getattr(pytest.mark, mark)(item)) if pytest is not None else item


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
