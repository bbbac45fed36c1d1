"""Random number generators: every test starts with the same seed."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator

import torch

from torch_testing_shim._engine.driver import accelerator_type
from torch_testing_shim._shared.settings import read_settings
from torch_testing_shim._upstream.graft import assigned

#: The seed that every test starts with where nobody has chosen one, as upstream.
SEED = 1234


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
