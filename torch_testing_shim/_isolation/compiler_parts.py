"""Parts of the state of torch's compilers, torch.compile and torch.jit, that a reused rank puts back between tests."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import torch

from torch_testing_shim._isolation.kept_parts import Part, attributes

__unittest = True  # unittest and pytest leave the frames of this module out of a report

_C: Any = torch._C  # its stubs lack some names
_CONFIGURATIONS = (
    "torch._dynamo.config", "torch._inductor.config", "torch._functorch.config", "torch.fx.experimental._config",
    "torch.compiler.config",
)  # fmt: skip
#: Attributes of torch.nn.Module that the first compilation replaces, and the mark by which it knows that.
_PATCHED_BY_COMPILE = ("__init__", "__setstate__", "___needs_generation_tag_patch")
#: Stands for a value of a configuration that nobody has set.
_UNSET = object()


def compiler_parts() -> list[Part]:
    """Return the parts, in the order in which they are put back."""
    return [
        *_script_parts(),
        *(_configuration(name) for name in _CONFIGURATIONS),
        attributes("what torch.compile patches", torch.nn.Module, _PATCHED_BY_COMPILE),
        Part("torch._dynamo", _has_compiled, lambda _: _forget_compiled()),
        Part("the stance of torch.compile", _has_stance, lambda _: torch.compiler.set_stance("default")),
        Part("compiled autograd", _compiles_autograd, lambda _: torch._dynamo.compiled_autograd.reset()),
    ]


def _script_parts() -> Iterator[Part]:
    """Yield the settings of torch.jit: of some, the function that sets one returns the former value."""
    for name in ("profiling_mode", "profiling_executor", "autocast_mode"):
        if (set_one := getattr(_C, f"_jit_set_{name}", None)) is not None:
            yield Part(f"torch.jit's {name}", functools.partial(_former, set_one), set_one)
    for name, read, set_one in (
        ("texpr_fuser", "_jit_texpr_fuser_enabled", "_jit_set_texpr_fuser_enabled"),
        ("fusion on the CPU", "_jit_can_fuse_on_cpu", "_jit_override_can_fuse_on_cpu"),
        ("fusion on GPUs", "_jit_can_fuse_on_gpu", "_jit_override_can_fuse_on_gpu"),
    ):
        if hasattr(_C, read) and hasattr(_C, set_one):
            yield Part(f"torch.jit's {name}", getattr(_C, read), getattr(_C, set_one))


def _former(set_one: Callable[[bool], bool]) -> bool:
    set_one(former := set_one(False))
    return former


def _configuration(name: str) -> Part:
    """Return the part of a module of settings: the values that somebody has set."""
    return Part(name, lambda: _set_values(name), lambda kept: _restore_values(name, kept), is_checked=False)


def _entries(name: str) -> Mapping[str, Any]:
    return getattr(sys.modules.get(name), "_config", None) or {}


def _set_values(name: str) -> dict[str, Any]:
    values = {key: _set_value(entry) for key, entry in _entries(name).items()}
    return {key: value for key, value in values.items() if value is not _UNSET}


def _unset_mark() -> Any:
    return sys.modules["torch.utils._config_module"]._UNSET_SENTINEL


def _set_value(entry: Any) -> Any:
    override = getattr(entry, "user_override", _UNSET)  # torch before 2.6 keeps the value itself
    value = override.get() if isinstance(override, ContextVar) else override
    return _UNSET if value is _unset_mark() else value


def _restore_values(name: str, kept: Mapping[str, Any]) -> None:
    for key, entry in _entries(name).items():
        value = kept.get(key, _unset_mark())
        if isinstance(entry.user_override, ContextVar):
            entry.user_override.set(value)
        else:
            entry.user_override = value


def _has_compiled() -> bool:
    frames = sys.modules.get("torch._dynamo.convert_frame")
    return bool(getattr(frames, "FRAME_COUNTER", 0))


def _has_stance() -> bool:
    stance = getattr(sys.modules.get("torch._dynamo.eval_frame"), "_stance", None)
    return getattr(stance, "stance", "default") != "default"


def _compiles_autograd() -> bool:
    return bool(getattr(sys.modules.get("torch._dynamo.compiled_autograd"), "compiled_autograd_enabled", False))


def _forget_compiled() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
