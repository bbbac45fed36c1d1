"""Parts of torch's state that a reused rank puts back after each test, beside those of `_engine.process_state`.

Torch is asked for its settings: each pair of functions `_get_NAME` and `_set_NAME` of `torch._C` is one. No driver is
started: an accelerator's state is put back where a test has used it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import torch

from torch_testing_shim._engine.driver import accelerator_type, initialized_accelerator
from torch_testing_shim._isolation.compiler_parts import compiler_parts
from torch_testing_shim._isolation.kept_parts import Part, attributes, module_global

__unittest = True  # unittest and pytest leave the frames of this module out of a report

_C: Any = torch._C  # its stubs lack some names, as torch.autograd's do
_AUTOGRAD: Any = torch.autograd
#: Pairs that belong to a running trace or graph, or that `process_state` has.
_NO_SETTINGS = (
    "deterministic_algorithms", "deterministic_fill_uninitialized_memory", "dispatch_mode", "graph_exec_group",
    "thread_name", "torch_function_state", "tracing_state", "tensor_metadata", "value_trace",
)  # fmt: skip
_FP32_BACKENDS, _FP32_OPERATIONS = ("generic", "cuda", "mkldnn"), ("all", "matmul", "conv", "rnn")
_SDP_KINDS = ("flash", "math", "mem_efficient", "cudnn", "overrideable")
_GLOBAL_HOOKS = (
    "_global_buffer_registration_hooks", "_global_module_registration_hooks", "_global_parameter_registration_hooks",
    "_global_backward_pre_hooks", "_global_backward_hooks", "_global_forward_pre_hooks", "_global_forward_hooks",
    "_global_forward_hooks_always_called", "_global_forward_hooks_with_kwargs", "_global_is_full_backward_hook",
)  # fmt: skip
_TOP_SAVED_HOOKS: Any = getattr(_C._autograd, "_top_saved_tensors_default_hooks", None)
#: The sets of dispatch keys seen so far, by their numbers, which torch 2.6 cannot make into sets.
_KEY_SETS: dict[int, Any] = {}


def torch_parts() -> list[Part]:
    """Return the parts, in the order in which they are put back."""
    keys = _Guards(lambda *numbers: _C._ForceDispatchKeyGuard(*map(_KEY_SETS.__getitem__, numbers)))
    return [
        Part("torch.set_num_threads", torch.get_num_threads, torch.set_num_threads),
        Part("torch.set_num_interop_threads", torch.get_num_interop_threads, torch.set_num_interop_threads),
        Part("torch's generator", _generator_state, _restore_generator, is_checked=False),
        *_autograd_parts(),
        *_autocast_parts(),
        Part("dispatch keys", _dispatch_keys, lambda kept: keys.set(*kept)),  # which modes have, too
        *_precision_parts(),
        *(_setting(name) for name in _names_of_settings()),
        Part("torch.set_flush_denormal", _flushes_denormals, torch.set_flush_denormal),
        *_global_parts(),
        attributes("checks of distributions", torch.distributions.Distribution, ["_validate_args"]),
        *compiler_parts(),
    ]


def _generator_state() -> bytes:
    return bytes(torch.default_generator.get_state().numpy())


def _restore_generator(kept: bytes) -> None:
    torch.default_generator.set_state(torch.frombuffer(bytearray(kept), dtype=torch.uint8))


# Autograd.


def _autograd_parts() -> list[Part]:
    return [
        Part("inference mode", torch.is_inference_mode_enabled, _Guards(_C._InferenceMode).set),
        Part(
            "anomaly mode",
            lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
            lambda kept: torch.set_anomaly_enabled(*kept),
        ),
        Part("multithreading of autograd", torch.autograd.is_multithreading_enabled, _C._set_multithreading_enabled),
        Part("view replay", _C._is_view_replay_enabled, _C._set_view_replay_enabled),
        Part("forward gradients", _C._is_fwd_grad_enabled, _C._set_fwd_grad_enabled),
        Part("a forward-mode level", lambda: torch.autograd.forward_ad._current_level, _leave_levels),
        Part("hooks of saved tensors", _top_saved_hooks, _pop_saved_hooks, is_checked=_TOP_SAVED_HOOKS is not None),
        Part(
            "disabled hooks of saved tensors",
            _C._autograd._saved_tensors_hooks_get_disabled_error_message,
            lambda kept: _C._autograd._saved_tensors_hooks_enable() if kept is None else None,
        ),
        Part("the profiler", _AUTOGRAD._profiler_enabled, lambda _: _AUTOGRAD._disable_profiler()),
    ]


class _Guards:
    """Sets what only a guard can set, and only while it lasts."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make
        self._guards: list[Any] = []

    def set(self, *values: object) -> None:
        guard = self._make(*values)
        guard.__enter__()
        self._guards.append(guard)


def _dispatch_keys() -> tuple[int, ...]:
    """Return the numbers of the sets of keys that this thread includes and excludes, beside those of what is called."""
    sets = _C._dispatch_tls_local_include_set(), _C._dispatch_tls_local_exclude_set()
    _KEY_SETS.update((keys.raw_repr(), keys) for keys in sets)
    return tuple(keys.raw_repr() for keys in sets)


def _leave_levels(kept: int) -> None:
    while torch.autograd.forward_ad._current_level > kept:
        _AUTOGRAD.forward_ad.exit_dual_level()


def _top_saved_hooks() -> Any:
    """Return the hooks that apply, None where there are none, and what equals nothing where torch 2.6 does not tell."""
    return object() if _TOP_SAVED_HOOKS is None else _TOP_SAVED_HOOKS(True)


def _pop_saved_hooks(kept: Any) -> None:
    refusals = (RuntimeError,) if _TOP_SAVED_HOOKS is None else ()  # where none is left
    with suppress(*refusals):
        while (top := _top_saved_hooks()) is not None and top != kept:
            _C._autograd._pop_saved_tensors_default_hooks()


def leave_modes() -> None:
    """Leave the modes of torch functions and of dispatch that a test has entered and not left."""
    device = getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None)
    default = getattr(device, "device_context", None)
    for index in reversed(range(_C._len_torch_function_stack())):
        if _C._get_function_stack_at(index) is not default:
            _C._pop_torch_function_stack()
    while depth := _C._len_torch_dispatch_stack():
        _C._pop_torch_dispatch_stack(getattr(_C._get_dispatch_stack_at(depth - 1), "_mode_key", None))
    _C._set_torch_function_state(_C._TorchFunctionState.ENABLED)
    functorch = _C._functorch
    if functorch.maybe_current_level() is not None:  # levels of vmap, grad, jvp or functionalize
        with suppress(RuntimeError):  # torch 2.6 looks at the stack once more when it is empty
            functorch.pop_dynamic_layer_stack_and_undo_to_depth(0)


# Autocast.


def _autocast_parts() -> list[Part]:
    types = sorted({"cpu", accelerator_type() or "cpu"})
    return [
        Part("autocast", lambda: [_autocast_of(each) for each in types], lambda kept: _restore_autocast(types, kept)),
        Part("autocast's cache", torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    ]


def _autocast_of(device_type: str) -> tuple[bool, torch.dtype]:
    return torch.is_autocast_enabled(device_type), torch.get_autocast_dtype(device_type)


def _restore_autocast(types: list[str], kept: list[tuple[bool, torch.dtype]]) -> None:
    while torch.autocast_increment_nesting() > 1:
        torch.autocast_decrement_nesting()
        torch.autocast_decrement_nesting()
    torch.autocast_decrement_nesting()
    torch.clear_autocast_cache()
    for device_type, (is_on, dtype) in zip(types, kept, strict=True):
        torch.set_autocast_enabled(device_type, is_on)
        torch.set_autocast_dtype(device_type, dtype)


# Settings in torch's C++.


def _names_of_settings() -> list[str]:
    found = []
    for name in (each.removeprefix("_get_") for each in dir(_C) if each.startswith("_get_")):
        with suppress(TypeError, RuntimeError):  # it takes arguments, or this build has no answer
            if hasattr(_C, f"_set_{name}") and name not in _NO_SETTINGS and getattr(_C, f"_get_{name}")() is not None:
                found.append(name)
    return found


def _setting(name: str) -> Part:
    read, set_one = getattr(_C, f"_get_{name}"), getattr(_C, f"_set_{name}")
    return Part(
        f"torch's setting {name}",
        lambda: _answer_of(read),
        lambda kept: set_one(*kept) if isinstance(kept, tuple) else set_one(kept),
    )


def _answer_of(read: Callable[..., Any], *arguments: object) -> Any:
    """Return the answer, or the exception's type: torch refuses the old names of a setting where new ones were used."""
    try:
        return read(*arguments)
    except RuntimeError as error:
        return type(error)


def _precision_parts() -> Iterator[Part]:
    """Yield the settings whose functions take arguments or have names of other forms."""
    if hasattr(_C, "_get_fp32_precision_getter"):
        pairs = [(backend, operation) for backend in _FP32_BACKENDS for operation in _FP32_OPERATIONS]
        known = [pair for pair in pairs if _answer_of(_C._get_fp32_precision_getter, *pair) is not RuntimeError]
        yield Part(
            "the precision of float32",
            lambda: [_C._get_fp32_precision_getter(*pair) for pair in known],
            lambda kept: [_C._set_fp32_precision_setter(*pair, value) for pair, value in zip(known, kept, strict=True)],
        )
    for kind in _SDP_KINDS:
        read, set_one = getattr(_C, f"_get_{kind}_sdp_enabled", None), getattr(_C, f"_set_sdp_use_{kind}", None)
        if read is not None and set_one is not None:
            yield Part(f"attention's kernel {kind}", read, set_one)


def _flushes_denormals() -> bool:
    smallest = float.fromhex("0x0.0000000000001p-1022")
    return smallest * float("1") == 0.0


# Python's side of torch.


def _global_parts() -> Iterator[Part]:
    modules = torch.nn.modules.module
    yield attributes("global hooks of modules", modules, _GLOBAL_HOOKS)
    optimizers = sys.modules["torch.optim.optimizer"]
    yield attributes(
        "global hooks of optimizers", optimizers, ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks")
    )
    yield attributes("torch.set_printoptions", torch._tensor_str.PRINT_OPTS, vars(torch._tensor_str.PRINT_OPTS))
    flags = [name for name in vars(torch.__future__) if name[0] == "_" != name[1]]
    yield attributes("torch.__future__", torch.__future__, flags)
    yield attributes("the cache of parametrizations", torch.nn.utils.parametrize, ("_cache", "_cache_enabled"))
    dispatch = torch.utils._python_dispatch
    flags = [name for name in vars(dispatch) if name.startswith("_is_in_")]
    yield attributes("flags of dispatch modes", dispatch, flags)
    yield module_global("torch.backends.mha", "_is_fastpath_enabled", fresh=True)
    contexts = getattr(sys.modules.get("torch._guards"), "_TLS", None)
    yield attributes("contexts of compilations", contexts, ("tracing_context", "compile_context"))
    yield attributes("torch.jit's flag", torch.jit._state._enabled, ["enabled"])
    yield attributes("the profiler's flag", torch.autograd.profiler, ["_is_profiler_enabled"])
    yield attributes("how tensors are shared", torch.multiprocessing, ["_sharing_strategy"])
    yield module_global("torch.utils.checkpoint", "_checkpoint_debug_enabled", fresh=None)
    yield module_global("torch.utils.checkpoint", "_enable_checkpoint_early_stop", fresh=True)
    yield Part(
        "checks of sparse tensors",
        _C._check_sparse_tensor_invariants,
        _C._set_check_sparse_tensor_invariants,
    )
    yield module_global("torch._weights_only_unpickler", "_marked_safe_globals_set")
    yield module_global("torch.random", "_fork_rng_warned_already", fresh=False)
    yield module_global("torch.hub", "_hub_dir", fresh=None)
    yield module_global("torch.utils.data._utils.worker", "_worker_info", fresh=None)
    traces: Any = sys.modules.get("torch.fx._symbolic_trace")
    if hasattr(traces, "_set_is_fx_tracing"):  # torch 2.15
        yield Part("a trace of torch.fx", traces._get_is_fx_tracing, traces._set_is_fx_tracing)
    else:
        yield module_global("torch.fx._symbolic_trace", "_is_fx_tracing_flag", fresh=False)
    contractions = sys.modules.get("torch.backends.opt_einsum")
    yield attributes("the path of contractions", contractions, ("enabled", "strategy"))
    backends = getattr(torch.backends, "m", torch.backends)  # the module behind the object that has its place
    yield attributes("whether flags may be set", backends, ["__allow_nonbracketed_mutation_flag"])
    name = getattr(_C, "_get_privateuse1_backend_name", str)
    yield Part("the name of the device privateuseone", name, lambda _: None)  # it is given once
    log_state = sys.modules["torch._logging._internal"].log_state
    yield attributes("torch._logging", log_state, vars(log_state))


# Accelerators.


def reset_accelerator() -> None:
    """Give cached memory back, and make the default stream and the first device current again, where a test has used an
    accelerator."""
    accelerator = initialized_accelerator()
    if accelerator is None:
        return
    module: Any = torch.get_device_module(accelerator)
    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats"):
        if hasattr(module, name):
            getattr(module, name)()
    if hasattr(module, "default_stream"):
        module.set_stream(module.default_stream())
    if hasattr(module, "_maybe_exchange_device"):  # set_device would start the driver on that device
        module._maybe_exchange_device(0)
