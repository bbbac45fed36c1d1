"""A test of `fully_shard` that runs once as it is and once with compiled modules."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.fsdp

from torch_testing_shim._engine.unrun_body import checked_test

Test = Callable[..., Any]
_FULLY_SHARD = "fully_shard"


def compiled_fsdp_test(compile_compute_on_module: type | None = None) -> Callable[[Test], Test]:
    """Run a test as it is, then, where triton is installed, with each sharded module compiled (upstream's
    `compiled_fsdp_test`, torch 2.13; torch 2.4 called it `test_compiled_fsdp`).

    The test's module has to import `fully_shard` by this name: it is replaced there.

    Args:
        compile_compute_on_module: only modules of this class are compiled.
    """

    def compiling(module: Any, *args: Any, **kwargs: Any) -> Any:
        sharded = torch.distributed.fsdp.fully_shard(module, *args, **kwargs)
        if compile_compute_on_module is None or isinstance(module, compile_compute_on_module):
            module.compile()
        return sharded

    def decorate(test: Test) -> Test:
        names = inspect.unwrap(test).__globals__

        @functools.wraps(test)
        def wrapper(*args: Any, **kwargs: Any) -> None:
            checked_test(test)(*args, **kwargs)
            if not _has_triton():
                warnings.warn("there is no triton, so the test does not run compiled", stacklevel=2)
                return
            _run_compiled(functools.partial(test, *args, **kwargs), names, compiling)

        return wrapper

    return decorate


def _has_triton() -> bool:
    from torch.utils._triton import has_triton

    return has_triton()


def _run_compiled(test: Callable[[], Any], names: dict[str, Any], compiling: Test) -> None:
    """Run the test with its module's `fully_shard` replaced. Ranks may be threads, so all read the original before one
    replaces it, and all end before one puts it back."""
    import torch._inductor.config as config

    original, threads = names[_FULLY_SHARD], config.compile_threads
    dist.barrier()
    names[_FULLY_SHARD], config.compile_threads = compiling, 1
    try:
        test()
        dist.barrier()
    finally:
        names[_FULLY_SHARD], config.compile_threads = original, threads


# Keeps pytest from taking it for a test, whatever its name in a test file.
compiled_fsdp_test.__test__ = False  # type: ignore[attr-defined]
