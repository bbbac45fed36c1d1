"""Exceptions and exit codes that mean a skip in a rank: unittest's and pytest's, and upstream's `TEST_SKIPS`, which
tests pass to `sys.exit`."""

from __future__ import annotations

import sys
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

#: Prefix of the reason of a skip that was `pytest.xfail`.
_XFAIL = "xfail: "


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
    """Returns the reason that `exit_code` stands for; None where it does not mean a skip."""
    if not isinstance(exit_code, int):
        return None
    return next((skip.message for skip in TEST_SKIPS.values() if skip.exit_code == exit_code), None)


def skip_reason_of(error: BaseException) -> str | None:
    """Returns the reason of unittest's skip, `pytest.skip` or `pytest.xfail`; None for another exception."""
    if isinstance(error, unittest.SkipTest):
        return str(error)
    if _is_pytests(error, "XFailed"):
        return f"{_XFAIL}{error}"
    return str(error) if _is_pytests(error, "Skipped") else None


@contextmanager
def skips_as_known(is_pytests: bool) -> Iterator[None]:
    """Converts a skip that leaves the block to the exception of whoever runs the test: `pytest.xfail` of a rank stays
    itself under pytest, and pytest's exceptions become unittest's elsewhere.

    Args:
        is_pytests: whether pytest runs the test.
    """
    try:
        yield
    except BaseException as error:
        reason = skip_reason_of(error)
        if reason is None or isinstance(error, unittest.SkipTest) != is_pytests:
            raise
        if not is_pytests:
            raise unittest.SkipTest(reason) from None
        if reason.startswith(_XFAIL):
            raise sys.modules["_pytest.outcomes"].XFailed(reason.removeprefix(_XFAIL)) from None
        raise


def is_pytest_failure(error: BaseException) -> bool:
    """Whether it is the exception of `pytest.fail`."""
    return _is_pytests(error, "Failed")


def _is_pytests(error: BaseException, name: str) -> bool:
    outcomes = sys.modules.get("_pytest.outcomes")  # not imported: without it, none of its exceptions was raised
    return outcomes is not None and isinstance(error, getattr(outcomes, name))
