"""torch's gradient checks with the defaults that PyTorch's own tests use."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["_assertGradAndGradgradChecks", "gradcheck", "gradgradcheck"]

__unittest = True  # unittest and pytest leave the frames of this module out of a report

_DEFAULTS = {"check_batched_grad": True, "fast_mode": True}


def gradcheck(fn: Callable[..., Any], inputs: Any, **kwargs: Any) -> bool:
    """`torch.autograd.gradcheck`, in fast mode and with batched gradients checked unless the arguments say otherwise;
    None stands for the default (upstream: `gradcheck`, torch 2.13)."""
    return torch.autograd.gradcheck(fn, inputs, **_with_defaults(kwargs))


def gradgradcheck(fn: Callable[..., Any], inputs: Any, grad_outputs: Any = None, **kwargs: Any) -> bool:
    """`torch.autograd.gradgradcheck` with the defaults of `gradcheck` (upstream: `gradgradcheck`, torch 2.13)."""
    return torch.autograd.gradgradcheck(fn, inputs, grad_outputs, **_with_defaults(kwargs))


def _assertGradAndGradgradChecks(
    test_case: unittest.TestCase, apply_fn: Callable[..., Any], inputs: Any, **kwargs: Any
) -> None:
    """Fails unless both checks pass."""
    test_case.assertTrue(gradcheck(apply_fn, inputs, **kwargs), "gradcheck failed")
    test_case.assertTrue(gradgradcheck(apply_fn, inputs, **kwargs), "gradgradcheck failed")


def _with_defaults(arguments: dict[str, Any]) -> dict[str, Any]:
    return {**_DEFAULTS, **{name: value for name, value in arguments.items() if value is not None}}
