"""Settings of torch that are put back when a test ends."""

from __future__ import annotations

import contextlib
import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import torch

from torch_testing_shim._shared.settings import read_settings

__unittest = True  # unittest and pytest leave the frames of this module out of a report

Function = TypeVar("Function", bound=Callable[..., Any])


@contextlib.contextmanager
def kept_torch_state() -> Iterator[None]:
    """Context that checks sparse tensors as they are made. Afterwards that setting is put back, and so are grad mode,
    the stance of `torch.compile`, torch function overrides and the current simulated device.

    Raises:
        AssertionError: the body has left functions of torch overridden, as a default device does.
    """
    is_mapped = read_settings().device_map is not None and torch.accelerator.is_available()
    device = torch.accelerator.current_device_index() if is_mapped else None
    checks: Any = torch.sparse.check_sparse_tensor_invariants  # untyped in torch
    grad = torch.is_grad_enabled()
    was_checking = checks.is_enabled()
    checks.enable()
    overrides = _Overrides()
    try:
        yield
    finally:
        (checks.enable if was_checking else checks.disable)()
        torch.set_grad_enabled(grad)
        if device is not None:
            torch.accelerator.set_device_index(device)
        if "torch._dynamo.eval_frame" in sys.modules:
            torch.compiler.set_stance("default")
        overrides.check_and_restore()


@contextlib.contextmanager
def checked_default_dtype() -> Iterator[None]:
    """Context that checks before the body and after it that floating-point tensors are float32 by default.

    Raises:
        AssertionError: they are not. After the body the default is float32 in any case.
    """
    _require_float32("begins")
    try:
        yield
        _require_float32("ends")
    finally:
        torch.set_default_dtype(torch.float32)


def _require_float32(when: str) -> None:
    default = torch.get_default_dtype()
    if default is not torch.float32:
        raise AssertionError(f"the test {when} with {default} as the default dtype, not torch.float32")


class _Overrides:
    """The overrides of torch functions in this thread, recorded when the object is made."""

    _torch: Any = torch._C  # its stubs lack some names

    def __init__(self) -> None:
        self._modes = self._torch._len_torch_function_stack()
        self._state = self._torch._get_torch_function_state()

    def check_and_restore(self) -> None:
        """Put the overrides back.

        Raises:
            AssertionError: they have changed.
        """
        modes, state = self._torch._len_torch_function_stack(), self._torch._get_torch_function_state()
        for _ in range(modes - self._modes):
            self._torch._pop_torch_function_stack()
        self._torch._set_torch_function_state(self._state)
        if modes != self._modes:
            raise AssertionError(
                f"the test began with {self._modes} torch function modes and ends with {modes}; a default device is one"
            )
        if state != self._state:
            raise AssertionError(f"the test began with torch's overrides in {self._state} and ends with {state}")


@contextlib.contextmanager
def set_default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Context that makes `dtype` the default of floating-point tensors (upstream: `set_default_dtype`, torch 2.13)."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class DeterministicGuard(contextlib.AbstractContextManager[None]):
    """Context that sets whether torch keeps to deterministic algorithms (upstream: `DeterministicGuard`, torch 2.13).

    Args:
        deterministic: only deterministic algorithms are used.
        warn_only: an operation that has none warns instead of raising.
        fill_uninitialized_memory: `torch.empty` and its like fill their memory, where `deterministic` is set.
    """

    def __init__(self, deterministic: bool, *, warn_only: bool = False, fill_uninitialized_memory: bool = True) -> None:
        self._wanted = (deterministic, warn_only, fill_uninitialized_memory)
        self._before = self._wanted

    def __enter__(self) -> None:
        self._before = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            _memory().fill_uninitialized_memory,
        )
        _set_determinism(*self._wanted)

    def __exit__(self, *exception: object) -> None:
        _set_determinism(*self._before)


def _set_determinism(deterministic: bool, warn_only: bool, fill: bool) -> None:
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    _memory().fill_uninitialized_memory = fill


def _memory() -> Any:
    return torch.utils.deterministic  # its attributes live in its class, where mypy does not see them


class SwapTensorsGuard(contextlib.AbstractContextManager[None]):
    """Context that sets whether modules swap their parameters on conversion, and puts the flag back
    (upstream: `SwapTensorsGuard`, torch 2.13).

    Args:
        use_swap_tensors: the flag, or None to leave it to the body.
    """

    def __init__(self, use_swap_tensors: bool | None) -> None:
        self._wanted = use_swap_tensors
        self._before = False

    def __enter__(self) -> None:
        self._before = torch.__future__.get_swap_module_params_on_conversion()
        if self._wanted is not None:
            torch.__future__.set_swap_module_params_on_conversion(self._wanted)

    def __exit__(self, *exception: object) -> None:
        torch.__future__.set_swap_module_params_on_conversion(self._before)


def wrapSwapTensorsTest(swap: bool | None = None) -> Callable[[Function], Function]:
    """Run a test in `SwapTensorsGuard(swap)` (upstream: `wrapSwapTensorsTest`, torch 2.13)."""
    return _within(lambda: SwapTensorsGuard(swap))


def suppress_warnings(fn: Function) -> Function:
    """Hide the warnings that a function gives (upstream: `suppress_warnings`, torch 2.13)."""
    return _within(_no_warnings)(fn)


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _within(make_context: Callable[[], contextlib.AbstractContextManager[None]]) -> Callable[[Function], Function]:
    """Make a decorator that runs the function in a new context each time."""

    def decorate(fn: Function) -> Function:
        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with make_context():
                return fn(*args, **kwargs)

        return cast(Function, wrapper)

    return decorate
