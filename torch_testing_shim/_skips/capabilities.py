"""What a device can do, as tests that are made for each device ask: `@requires_capabilities(Capability.dtype.fp8)`.

The classes that such tests are made on answer by `_capabilities()`. Here is what they answer on a torch that has no
answers yet, what CUDA answers without its driver starting in the test process, and what a package's record adds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch_testing_shim._engine.backend_records import installed_records
from torch_testing_shim._skips import cuda_flags
from torch_testing_shim._skips.conditions import skip_where
from torch_testing_shim._skips.flags import TEST_WITH_ROCM
from torch_testing_shim._upstream.graft import grafted

__all__ = ["Capability", "know_capabilities", "requires_capabilities"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

Test = TypeVar("Test", bound=Callable[..., Any])
Answers = Mapping[str, Callable[[], bool]]


class Capability:
    """Names of what a device can do, by kinds (upstream's `Capability`, torch 2.15)."""

    class dtype:
        fp8 = "dtype.fp8"
        bf16 = "dtype.bf16"

    class attention:
        flash_attention = "attention.flash_attention"
        mem_efficient_attention = "attention.mem_efficient_attention"


#: What `torch_testing_shim.backends` calls some of them.
_IN_RECORDS = {
    "flash_attention": Capability.attention.flash_attention,
    "memory_efficient_attention": Capability.attention.mem_efficient_attention,
}


def requires_capabilities(*caps: str) -> Callable[[Test], Test]:
    """Skips a test where its device lacks one of these, before any rank starts (upstream's name, torch 2.15).

    Args:
        caps: `Capability.dtype.fp8` and the like, or names that a package's `_capabilities()` or record has.

    Raises:
        AssertionError: in the test, where its class does not say whether the device can do it.
    """

    def condition(test: Any) -> str | None:
        answers: Mapping[str, bool] = type(test).get_capabilities()
        if unknown := sorted(set(caps) - set(answers)):
            raise AssertionError(f"{type(test).__name__}._capabilities() does not know {', '.join(unknown)}")
        lacking = sorted(name for name in set(caps) if not answers[name])
        return f"needs {', '.join(lacking)}, which {test.device_type} does not have" if lacking else None

    return skip_where(condition)


def know_capabilities(base: Any, device_type: str) -> None:
    """Has a class that tests are made on answer for its device: what torch's own answers, what is known here, and what
    the record of the device's package names."""
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
    """Answers for the names of `Capability`; of a device that nothing is known of, no."""
    flash, efficient = cuda_flags.PLATFORM_SUPPORTS_FLASH_ATTENTION, cuda_flags.PLATFORM_SUPPORTS_MEM_EFF_ATTENTION
    by_device: dict[str, dict[str, Callable[[], bool]]] = {
        Capability.dtype.fp8: {"cpu": _yes, "cuda": _cuda_has_fp8, "xpu": _yes},
        Capability.dtype.bf16: {"cpu": _yes, "cuda": lambda: bool(cuda_flags.SM80OrLater), "mps": _yes, "xpu": _yes},
        Capability.attention.flash_attention: {"cpu": _yes, **dict.fromkeys(("cuda", "xpu"), lambda: bool(flash))},
        Capability.attention.mem_efficient_attention: dict.fromkeys(("cuda", "xpu"), lambda: bool(efficient)),
    }
    return {name: answers.get(device_type, _no) for name, answers in by_device.items()}


def _recorded(device_type: str) -> Answers:
    """What the record of this device names, and what those of others do and nothing is known of."""
    records = {kind: found.record.capabilities for kind, found in installed_records().items()}
    others = {_IN_RECORDS.get(name, name) for names in records.values() for name in names} - _known(device_type).keys()
    own = {_IN_RECORDS.get(name, name) for name in records.get(device_type, ())}
    return {**dict.fromkeys(others, _no), **dict.fromkeys(own, _yes)}


def _cuda_has_fp8() -> bool:
    """As NVIDIA's compute capability says; torch knows which of AMD's have it, and asks the driver here."""
    return bool(
        grafted("torch_testing_shim.common_cuda", "PLATFORM_SUPPORTS_FP8") if TEST_WITH_ROCM else cuda_flags.SM89OrLater
    )


def _yes() -> bool:
    return True


def _no() -> bool:
    return False
