"""Decorators that skip a test, by what the machine, the build or the run is like.

Conditions are asked when the test is about to run (see `_rank_free`), those of a class when it is decorated. Each
keeps the name, signature and meaning of upstream's decorator (torch 2.13).
"""

from __future__ import annotations

import sys
import unittest
from collections.abc import Callable
from typing import Any, TypeVar, cast

from torch_testing_shim._shared.settings import runs_under_pytest
from torch_testing_shim._skips.conditions import skip_where
from torch_testing_shim._skips.flags import (
    LAZY_FLAGS,
    TEST_WITH_ROCM,
    TEST_WITH_TORCHDYNAMO,
    as_assigned,
    settings_or_default,
)

__all__ = [
    "lazy_skip_if",
    "requires_accelerator",
    "requires_cuda",
    "requires_multigpu",
    "serialTest",
    "skipIfRocm",
    "skipIfTorchDynamo",
    "skip_but_pass_in_sandcastle",
    "skip_but_pass_in_sandcastle_if",
    "skip_if_pytest",
    "slowTest",
    "slowTestIf",
]

Item = TypeVar("Item", bound=Callable[..., Any])  # a test method or a class of tests
Decorator = Callable[[Item], Item]

#: What `slowTest` leaves on a test method; upstream's name.
SLOW_MARK = "slow_test"
SLOW_REASON = "test is slow; set PYTORCH_TEST_WITH_SLOW=1 to run it"


def lazy_skip_if(condition_fn: Callable[[], bool], reason: str) -> Callable[[Item], Item]:
    """Skips a test method where `condition_fn()` is true when it is about to run, a class where it is true now."""

    def decorate(item: Item) -> Item:
        if isinstance(item, type):
            return cast(Item, unittest.skipIf(condition_fn(), reason)(item))
        return skip_where(lambda _: reason if condition_fn() else None)(item)

    return decorate


def requires_cuda(test_item: Item) -> Item:
    """Skips where there is no CUDA device."""
    return lazy_skip_if(lambda: not LAZY_FLAGS["TEST_CUDA"](), "needs a CUDA device")(test_item)


def requires_accelerator(test_item: Item) -> Item:
    """Skips where there is no accelerator (upstream's name, torch 2.15)."""
    return lazy_skip_if(lambda: not LAZY_FLAGS["TEST_ACCELERATOR"](), "needs an accelerator")(test_item)


def requires_multigpu(fn: Item) -> Item:
    """Skips where there are fewer than two accelerators, and sets pytest's mark `multigpu` (upstream's name, torch
    2.15, which counts CUDA devices alone)."""
    skipping = lazy_skip_if(lambda: not LAZY_FLAGS["TEST_MULTIACCELERATOR"](), "needs at least 2 accelerators")
    return _marked("multigpu", skipping(fn))


def skipIfRocm(
    func: Item | None = None, *, msg: str = "test doesn't currently work on the ROCm stack"
) -> Item | Callable[[Item], Item]:
    """Skips where torch was built for ROCm; used bare or with a message."""
    decorate: Callable[[Item], Item] = lazy_skip_if(lambda: TEST_WITH_ROCM, f"skipIfRocm: {msg}")
    return decorate if func is None else decorate(func)


def skipIfTorchDynamo(msg: str = "test doesn't currently work with dynamo") -> Callable[[Item], Item]:
    """Skips where the suite runs compiled, which this harness never does; it takes a message, so it is called."""
    if not isinstance(msg, str):
        raise TypeError("skipIfTorchDynamo takes a message: write @skipIfTorchDynamo() or @skipIfTorchDynamo('why')")
    return lazy_skip_if(lambda: TEST_WITH_TORCHDYNAMO, msg)


def skip_but_pass_in_sandcastle(reason: str) -> Callable[[Item], Item]:
    """Skips. (Meta's sandcastle, where upstream lets such tests pass, is not known here.)"""
    return skip_but_pass_in_sandcastle_if(True, reason)


def skip_but_pass_in_sandcastle_if(condition: bool, reason: str) -> Callable[[Item], Item]:
    """Skips where `condition` is true. (Meta's sandcastle, where upstream lets such tests pass, is not known here.)"""
    return unittest.skipIf(condition, reason)


def skip_if_pytest(fn: Item) -> Item:
    """Skips where pytest runs the tests."""
    return lazy_skip_if(runs_under_pytest, "does not work under pytest")(fn)


def slowTest(fn: Item) -> Item:
    """Marks a slow test: it runs only where PYTORCH_TEST_WITH_SLOW is set."""
    marked = lazy_skip_if(lambda: not as_assigned(settings_or_default()).with_slow, SLOW_REASON)(fn)
    setattr(marked, SLOW_MARK, True)
    return marked


def slowTestIf(condition: bool) -> Callable[[Item], Item]:
    """`slowTest` where `condition` is true."""
    return slowTest if condition else lambda fn: fn


def serialTest(condition: bool = True) -> Callable[[Item], Item]:
    """Marks a test (pytest's mark `serial`) that must not run beside others, where `condition` is true.

    Raises:
        TypeError: used without brackets.
    """
    if not isinstance(condition, bool):
        raise TypeError("serialTest takes a condition: write @serialTest()")

    return (lambda fn: _marked("serial", fn)) if condition else (lambda fn: fn)


def _marked(mark: str, item: Item) -> Item:
    pytest = sys.modules.get("pytest")  # where pytest does not run the tests, nobody reads its marks
    return cast(Item, getattr(pytest.mark, mark)(item)) if pytest is not None else item
