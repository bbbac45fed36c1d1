"""Exit codes that mean "skipped": upstream's `TEST_SKIPS`, which tests pass to `sys.exit`."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["TEST_SKIPS", "TestSkip", "skip_message"]


class TestSkip(NamedTuple):
    """An exit code that means a skip, and the reason it stands for (upstream's `TestSkip`, torch 2.13)."""

    exit_code: int
    message: str


TestSkip.__test__ = False  # type: ignore[attr-defined]  # not a test class, whatever pytest makes of its name


#: The codes are upstream's (torch 2.13), since tests exit with them; the reasons are worded here.
TEST_SKIPS: dict[str, TestSkip] = {
    "backend_unavailable": TestSkip(72, "the distributed backend is not available"),
    "small_worldsize": TestSkip(73, "the world size is too small"),
    "no_cuda": TestSkip(74, "CUDA is not available"),
    "multi-gpu-1": TestSkip(75, "needs at least 1 accelerator"),
    "nccl": TestSkip(76, "torch was built without NCCL"),
    "multi-gpu-2": TestSkip(77, "needs at least 2 accelerators"),
    "skipIfRocm": TestSkip(78, "does not run on ROCm"),
    "no_peer_access": TestSkip(79, "the GPUs have no peer access"),
    **{f"multi-gpu-{n}": TestSkip(77 + n, f"needs at least {n} accelerators") for n in range(3, 9)},
    "generic": TestSkip(86, "skipped inside a rank"),
    "odd_worldsize": TestSkip(87, "the world size is odd"),
    "importerror": TestSkip(88, "a module it needs cannot be imported"),
    "no_accelerator": TestSkip(89, "no accelerator is available"),
}


def skip_message(exit_code: object) -> str | None:
    """The reason that `exit_code` stands for, or None where it does not mean a skip."""
    return next((skip.message for skip in TEST_SKIPS.values() if skip.exit_code == exit_code), None)
