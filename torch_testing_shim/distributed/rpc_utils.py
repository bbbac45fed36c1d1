"""Upstream's `distributed.rpc_utils`: its lists of RPC test suites are PyTorch's own, so here the names only say so."""

from __future__ import annotations

from typing import Any

from torch_testing_shim._absent_names import AbsentName

__all__ = [
    "FAULTY_AGENT_TESTS",
    "GENERIC_CUDA_TESTS",
    "GENERIC_TESTS",
    "TENSORPIPE_CUDA_TESTS",
    "TENSORPIPE_TESTS",
    "generate_tests",
]


def _suites(name: str) -> AbsentName:
    return AbsentName(f"{__name__}.{name}", "is a list of PyTorch's own test suites of RPC")


FAULTY_AGENT_TESTS, GENERIC_TESTS, GENERIC_CUDA_TESTS, TENSORPIPE_TESTS, TENSORPIPE_CUDA_TESTS = map(
    _suites,
    ("FAULTY_AGENT_TESTS", "GENERIC_TESTS", "GENERIC_CUDA_TESTS", "TENSORPIPE_TESTS", "TENSORPIPE_CUDA_TESTS"),
)


def generate_tests(prefix: str, mixin: type[Any], tests: list[type[Any]], module_name: str) -> dict[str, type[Any]]:
    """Upstream's `generate_tests` (torch 2.13) makes test classes of PyTorch's own suites.

    Raises:
        AbsentNameError: always.
    """
    AbsentName(f"{__name__}.generate_tests", "makes test classes of PyTorch's own test suites of RPC").absent()
