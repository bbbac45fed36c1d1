"""Settings of torch.distributed that a test runs under, and what DDP has logged; `common_distributed` has the names."""

from __future__ import annotations

import contextlib
import functools
import resource
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import torch.distributed as dist

from torch_testing_shim._shared.settings import changed_environment

__all__ = ["core_dumps_disabled", "verify_ddp_error_logged", "with_dist_debug_levels", "with_nccl_blocking_wait"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Test = TypeVar("Test", bound=Callable[..., Any])

_take_debug_level: Callable[[], None] = dist.set_debug_level_from_env  # type: ignore[attr-defined]

#: After it, an error's text has C++ stacks, which the log leaves out.
_CPP_STACKS = "\nException raised from "


@contextlib.contextmanager
def core_dumps_disabled() -> Iterator[None]:
    """No process writes a core dump meanwhile, so that an assert on one of AMD's GPUs is an exception as on others, not
    the end of the process (upstream's name, torch 2.15). The soft limit is put back."""
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, limits)


def with_dist_debug_levels(levels: Sequence[str]) -> Callable[[Test], Test]:
    """Runs a test once for each debug level ("OFF", "INFO", "DETAIL"), with a barrier after each (upstream's
    `with_dist_debug_levels`, torch 2.13). The level is put back, also where the test fails."""

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            result = None
            for level in levels:
                try:
                    with changed_environment({"TORCH_DISTRIBUTED_DEBUG": level}):
                        _take_debug_level()
                        result = test(*args, **kwargs)
                        dist.barrier()
                finally:
                    _take_debug_level()
            return result

        return cast(Test, wrapper)

    return decorate


def with_nccl_blocking_wait(func: Test) -> Test:
    """Runs a test with TORCH_NCCL_BLOCKING_WAIT=1 and without TORCH_NCCL_ASYNC_ERROR_HANDLING, and puts both back
    (upstream's name, torch 2.13)."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with changed_environment({"TORCH_NCCL_BLOCKING_WAIT": "1", "TORCH_NCCL_ASYNC_ERROR_HANDLING": None}):
            return func(*args, **kwargs)

    return cast(Test, wrapper)


def verify_ddp_error_logged(model_DDP: Any, err_substr: str) -> None:
    """Checks that DDP has logged an error in which `err_substr` stands, C++ stacks left out (upstream's name, torch
    2.13).

    Raises:
        AssertionError: it has not.
    """
    logged = model_DDP._get_ddp_logging_data()
    missing = [key for key in ("iteration", "has_error", "error") if key not in logged]
    if missing:
        raise AssertionError(f"DDP has logged no {', '.join(missing)}")
    wanted = err_substr.partition(_CPP_STACKS)[0]
    if wanted not in logged["error"]:
        raise AssertionError(f"DDP has logged the error {logged['error']!r}, in which {wanted!r} does not stand")
