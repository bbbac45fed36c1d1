"""Capabilities of a device: flags of `common_cuda`, answers for `@requires_capabilities(Capability.dtype.fp8)`, and
memory.

A flag is found when a test uses it, and without starting an accelerator's driver in this process. The classes that
tests are made on for each device answer by `_capabilities()`: here are their answers on a torch that has none yet,
CUDA's, and those that a package's record adds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch

from torch_testing_shim._engine.backend_records import installed_records
from torch_testing_shim._engine.devices import declares, device_in_use
from torch_testing_shim._engine.driver import DRIVER
from torch_testing_shim._skips.conditions import skip_where
from torch_testing_shim._skips.flags import IS_WINDOWS, LAZY_FLAGS, TEST_WITH_ROCM, settings_or_default
from torch_testing_shim._upstream.graft import grafted

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Test = TypeVar("Test", bound=Callable[..., Any])
Answers = Mapping[str, Callable[[], bool]]

#: The oldest cuDNN with attention.
_CUDNN_ATTENTION_VERSION = 90000
#: Of AMD's GPUs, those with symmetric memory (torch 2.13).
_ROCM_SYMMETRIC_MEMORY = ("gfx942", "gfx950")


class LazyFlag:
    """A truth value that `ask()` finds: called once, and only when the flag is used as a truth value or compared.

    Unlike a module's lazy attribute it stays unasked through `from module import FLAG`.
    """

    __hash__ = None  # type: ignore[assignment]  # it equals a bool, whose hash it must not need to know

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self._answer: bool | None = None

    def __bool__(self) -> bool:
        if self._answer is None:
            self._answer = bool(self._ask())
        return self._answer

    def __eq__(self, other: object) -> bool:
        return bool(self) == other

    def __repr__(self) -> str:
        return repr(bool(self))


def _capability_from(*least: int) -> bool:
    """Return whether the current CUDA device has at least this compute capability."""
    return LAZY_FLAGS["TEST_CUDA"]() and DRIVER.ask(torch.cuda.get_device_capability) >= least


SM80OrLater = LazyFlag(lambda: _capability_from(8, 0))
SM89OrLater = LazyFlag(lambda: _capability_from(8, 9))
SM90OrLater = LazyFlag(lambda: _capability_from(9, 0))


def _has_flash_attention() -> bool:
    if LAZY_FLAGS["TEST_CUDA"]():
        by_device = TEST_WITH_ROCM or (bool(SM80OrLater) and not IS_WINDOWS)
        return by_device and torch.backends.cuda.is_flash_attention_available()
    return LAZY_FLAGS["TEST_XPU"]() or declares("flash_attention")


def _has_efficient_attention() -> bool:
    if settings_or_default().device_map is not None:
        return False
    return LAZY_FLAGS["TEST_CUDA"]() or LAZY_FLAGS["TEST_XPU"]() or declares("memory_efficient_attention")


def _has_cudnn_attention() -> bool:
    cudnn: Any = torch.backends.cudnn  # untyped in torch
    if not SM80OrLater or TEST_WITH_ROCM:
        return False
    return bool((DRIVER.ask(cudnn.version) or 0) >= _CUDNN_ATTENTION_VERSION)


#: Kernels of attention that an accelerator has (upstream's names, torch 2.13), as torch or its package says; false on
#: the CPU.
PLATFORM_SUPPORTS_FLASH_ATTENTION = LazyFlag(_has_flash_attention)
PLATFORM_SUPPORTS_MEM_EFF_ATTENTION = LazyFlag(_has_efficient_attention)
PLATFORM_SUPPORTS_CUDNN_ATTENTION = LazyFlag(_has_cudnn_attention)
PLATFORM_SUPPORTS_FUSED_ATTENTION = LazyFlag(
    lambda: any(
        (PLATFORM_SUPPORTS_FLASH_ATTENTION, PLATFORM_SUPPORTS_MEM_EFF_ATTENTION, PLATFORM_SUPPORTS_CUDNN_ATTENTION)
    )
)


def has_multicast_memory() -> bool:
    """Return whether the device in use has multicast memory, as torch says of CUDA, and its package of another
    device."""
    if device_in_use().type != "cuda":
        return declares("multicast_memory")
    return DRIVER.ask(_cuda_has_multicast_memory)


def _cuda_has_multicast_memory() -> bool:
    memory: Any = torch._C._distributed_c10d._SymmetricMemory
    return bool(memory.has_multicast_support(torch._C._autograd.DeviceType.CUDA, 0))


def evaluate_platform_supports_symm_mem() -> bool:
    """Return whether the device in use has symmetric memory (upstream's name, torch 2.13): known of CUDA and ROCm, and
    asked of the package of another device."""
    if device_in_use().type != "cuda":
        return declares("symmetric_memory")
    return not TEST_WITH_ROCM or any(arch in rocm_arch() for arch in _ROCM_SYMMETRIC_MEMORY)


def sm_is_or_higher_than(device: torch.device, major: int, minor: int) -> bool:
    """Return whether a device has at least this CUDA capability: true for devices that are not CUDA's, false for ROCm
    (upstream's name, torch 2.13)."""
    if device.type != "cuda":
        return True
    return not TEST_WITH_ROCM and DRIVER.ask(torch.cuda.get_device_capability, device) >= (major, minor)


def rocm_arch() -> str:
    """Return the architecture of the first of AMD's GPUs, "gfx90a" for example."""
    return DRIVER.ask(_first_rocm_arch)


def _first_rocm_arch() -> str:
    return str(torch.cuda.get_device_properties(0).gcnArchName).partition(":")[0]


class Capability:
    """Names of capabilities, by kinds (upstream's `Capability`, torch 2.15)."""

    class dtype:
        fp8 = "dtype.fp8"
        bf16 = "dtype.bf16"

    class attention:
        flash_attention = "attention.flash_attention"
        mem_efficient_attention = "attention.mem_efficient_attention"


#: Other names of some of them, which `torch_testing_shim.backends` uses.
_IN_RECORDS = {
    "flash_attention": Capability.attention.flash_attention,
    "memory_efficient_attention": Capability.attention.mem_efficient_attention,
}


def requires_capabilities(*caps: str) -> Callable[[Test], Test]:
    """Skip a test where its device lacks one of these, before any rank starts (upstream's name, torch 2.15).

    Args:
        caps: `Capability.dtype.fp8` and the like, or names that a package's `_capabilities()` or record has.

    Raises:
        AssertionError: in the test, where its class does not know one of them.
    """

    def condition(test: Any) -> str | None:
        answers: Mapping[str, bool] = type(test).get_capabilities()
        if unknown := sorted(set(caps) - set(answers)):
            raise AssertionError(f"{type(test).__name__}._capabilities() does not know {', '.join(unknown)}")
        lacking = sorted(name for name in set(caps) if not answers[name])
        return f"needs {', '.join(lacking)}, which {test.device_type} does not have" if lacking else None

    return skip_where(condition)


def know_capabilities(base: Any, device_type: str) -> None:
    """Have a class that tests are made on answer for its device: by torch's own answers, by those known here, and by
    the record of the device's package."""
    own = vars(base).get("_capabilities")
    if isinstance(own, _Answering):
        return

    def answers(cls: type) -> Answers:
        torchs: Answers = own.__func__(cls) if own is not None else {}
        return {**torchs, **_known(device_type), **_recorded(device_type)}

    base._capabilities = _Answering(answers)
    if not hasattr(base, "get_capabilities"):
        base.get_capabilities = classmethod(_asked)


def _asked(cls: Any) -> dict[str, bool]:
    return {name: bool(ask()) for name, ask in cls._capabilities().items()}


class _Answering(classmethod):  # type: ignore[type-arg]  # takes none at run time
    """A `_capabilities` of ours."""


def _known(device_type: str) -> Answers:
    """Return answers for the names of `Capability`; no for a device that nothing is known of."""
    flash, efficient = PLATFORM_SUPPORTS_FLASH_ATTENTION, PLATFORM_SUPPORTS_MEM_EFF_ATTENTION
    by_device: dict[str, dict[str, Callable[[], bool]]] = {
        Capability.dtype.fp8: {"cpu": _yes, "cuda": _cuda_has_fp8, "xpu": _yes},
        Capability.dtype.bf16: {"cpu": _yes, "cuda": lambda: bool(SM80OrLater), "mps": _yes, "xpu": _yes},
        Capability.attention.flash_attention: {"cpu": _yes, **dict.fromkeys(("cuda", "xpu"), lambda: bool(flash))},
        Capability.attention.mem_efficient_attention: dict.fromkeys(("cuda", "xpu"), lambda: bool(efficient)),
    }
    return {name: answers.get(device_type, _no) for name, answers in by_device.items()}


def _recorded(device_type: str) -> Answers:
    """Return yes for what the record of this device names, and no for what other records name and nothing is known
    of."""
    records = {kind: found.record.capabilities for kind, found in installed_records().items()}
    others = {_IN_RECORDS.get(name, name) for names in records.values() for name in names} - _known(device_type).keys()
    own = {_IN_RECORDS.get(name, name) for name in records.get(device_type, ())}
    return {**dict.fromkeys(others, _no), **dict.fromkeys(own, _yes)}


def _cuda_has_fp8() -> bool:
    """Decide by compute capability on NVIDIA. Torch knows which of AMD's devices have it, and asks the driver."""
    return bool(grafted("torch_testing_shim.common_cuda", "PLATFORM_SUPPORTS_FP8") if TEST_WITH_ROCM else SM89OrLater)


def _yes() -> bool:
    return True


def _no() -> bool:
    return False
