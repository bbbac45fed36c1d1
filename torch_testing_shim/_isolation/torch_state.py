"""Settings of torch that are put back when a test ends; every test starts with the same seed."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import torch

from torch_testing_shim._engine.driver import accelerator_type
from torch_testing_shim._shared.settings import read_settings
from torch_testing_shim._upstream.graft import assigned

__unittest = True  # unittest and pytest leave the frames of this module out of a report

#: The seed that every test starts with where nobody has chosen one, as upstream.
SEED = 1234


def reset_dynamo() -> None:
    """Make the compiler forget what it has compiled, where it is imported."""
    dynamo = sys.modules.get("torch._dynamo")  # not imported: nothing was compiled, and the import takes half a second
    if dynamo is not None:
        dynamo.reset()


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
        """Put the overrides back. Raise AssertionError where they have changed."""
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


def set_rng_seed(seed: int | None = None) -> None:
    """Seed the generators of torch (on all devices), of `random` and, where it is imported, of numpy (upstream:
    `set_rng_seed`, torch 2.13).

    Args:
        seed: the seed. None stands for the one that a test file has assigned to `common_utils.SEED`, else the run's
            (`--seed`, TORCH_TESTING_SHIM_SEED), else `SEED`.
    """
    chosen = assigned("torch_testing_shim.common_utils", "SEED")
    seeds = (seed, chosen if chosen != SEED else None, read_settings().seed)
    value = next((each for each in seeds if each is not None), SEED)
    if accelerator_type() is None:
        torch.default_generator.manual_seed(value)  # the only one; manual_seed would take stacks for absent devices
    else:
        torch.manual_seed(value)
    random.seed(value)
    numpy = sys.modules.get("numpy")  # not imported: no test has drawn from it, and importing it costs time
    if numpy is not None:
        numpy.random.seed(value)


@contextlib.contextmanager
def freeze_rng_state() -> Iterator[None]:
    """Context that puts back torch's generators, of the CPU and of the accelerators that may be used (upstream:
    `freeze_rng_state`, torch 2.13)."""
    with torch.random.fork_rng(enabled=True, **_accelerator_in_use()):
        yield


def _accelerator_in_use() -> dict[str, object]:
    device_type = accelerator_type()
    if device_type is None:
        return {"devices": []}
    module = torch.get_device_module(device_type)
    if not module.is_initialized():  # its generators are unused, and asking would start the driver
        return {"devices": []}
    leased = read_settings().device_indices
    devices = range(torch.accelerator.device_count()) if leased is None else leased
    return {"devices": devices, "device_type": device_type}
