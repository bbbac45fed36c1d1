"""Settings of torch that are put back when a test ends."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import torch

from torch_testing_shim._shared.settings import read_settings

__unittest = True  # unittest and pytest leave the frames of this module out of a report


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
