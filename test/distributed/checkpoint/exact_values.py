"""Tensors whose every bit is known from a name, and their comparison bit for bit: no code of torch's checkpoints has
part in what is expected."""

import random
from collections.abc import Callable

import torch

from torch_testing_shim.common_utils import TestCase

__all__ = ["ALL_DTYPES", "FLOATS", "about", "assert_same_bits", "bits", "exact_values"]

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)
ALL_DTYPES = (*FLOATS, *INTEGERS, torch.bool, torch.complex64)


def about(what: str) -> Callable[[str], str]:
    """Put in front of a failure of `assertEqual` what it is about, so that its first line says it."""
    return lambda message: f"{what}: {message}"


def exact_values(name: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return a contiguous CPU tensor of pseudo-random bits, the same for the same name wherever it is made.

    Floats can be any, infinities and NaNs too.
    """
    length = torch.Size(shape).numel() * dtype.itemsize
    drawn = bytearray(random.Random(name).randbytes(length))
    if dtype is torch.bool:
        drawn = bytearray(byte & 1 for byte in drawn)
    if not drawn:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(drawn, dtype=dtype).reshape(shape)


def bits(tensor: torch.Tensor) -> bytes:
    """Return the values of a tensor as bytes, in the order of its elements."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return bytes(flat.view(torch.uint8).tolist())


def assert_same_bits(case: TestCase, name: str, actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Fail unless dtype, shape and each bit of both tensors are the same. The message starts with `name`."""
    for what in ("dtype", "shape"):
        found, wanted = getattr(actual, what), getattr(expected, what)
        case.assertTrue(found == wanted, f"{name}: {what} is {found}, expected {wanted}")
    found, wanted = bits(actual), bits(expected)
    if found != wanted:
        size = expected.dtype.itemsize
        wrong = [at // size for at in range(0, len(wanted), size) if found[at : at + size] != wanted[at : at + size]]
        case.fail(f"{name}: {len(wrong)} of {expected.numel()} elements differ, the first at {wrong[0]}")
