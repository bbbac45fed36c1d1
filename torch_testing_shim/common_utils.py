"""Upstream's `torch.testing._internal.common_utils`: what every test file imports.

Only names stand here; what they do is in the private modules that they come from.
"""

from __future__ import annotations

from torch_testing_shim._assertions import TensorAssertions
from torch_testing_shim._expected_output import ExpectedOutput
from torch_testing_shim._parametrization import (
    decorateIf,
    instantiate_parametrized_tests,
    parametrize,
    reparametrize,
    subtest,
)
from torch_testing_shim._seeds import SEED, freeze_rng_state, set_rng_seed
from torch_testing_shim._test_program import run_tests

__all__ = [
    "SEED",
    "TestCase",
    "decorateIf",
    "freeze_rng_state",
    "instantiate_parametrized_tests",
    "parametrize",
    "reparametrize",
    "run_tests",
    "set_rng_seed",
    "subtest",
]

__unittest = True  # unittest and pytest leave the frames of this module out of a report


class TestCase(TensorAssertions, ExpectedOutput):
    """A `unittest.TestCase` that compares tensors, seeds all generators before each test and knows slow and disabled
    tests (upstream: `TestCase`, torch 2.13).

    Args:
        method_name, methodName: the test method; both spellings are upstream's.
    """

    maxDiff = None

    def __init__(self, method_name: str = "runTest", methodName: str = "runTest") -> None:
        super().__init__(methodName if methodName != "runTest" else method_name)

    def setUp(self) -> None:
        super().setUp()
        set_rng_seed()
