"""The assertions for tests of tensors, which unittest does not have.

Each keeps the name, signature and meaning of upstream's method of the same name (torch 2.13).
"""

from __future__ import annotations

import contextlib
import re
import unittest
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from torch_testing_shim._assertions.comparison import ComparisonRules, differences, report

__unittest = True  # unittest and pytest leave the frames of this module out of a report


class TensorAssertions(unittest.TestCase):
    """`assertEqual` for tensors and all that holds them, and its relatives.

    Attributes:
        precision, rel_tol: the least absolute and relative tolerances of this test's comparisons.
    """

    precision: float = 0.0
    rel_tol: float = 0.0
    #: The names by which upstream's own classes read these.
    _precision: float = 0.0
    _rel_tol: float = 0.0

    def assertEqual(
        self,
        x: Any,
        y: Any,
        msg: str | Callable[[str], str] | None = None,
        *,
        atol: float | None = None,
        rtol: float | None = None,
        equal_nan: bool = True,
        exact_dtype: bool = True,
        exact_device: bool = False,
        exact_layout: bool = False,
        exact_stride: bool = False,
        exact_is_coalesced: bool = False,
    ) -> None:
        """Fails unless `x` (actual) equals `y` (expected).

        Tensors agree as `torch.testing.assert_close` has it, numbers within the tolerances of float32, sequences and
        mappings item by item, anything else by `==`. A tensor may be compared with a number (if it has one element),
        a sequence of numbers or a numpy array. DTensors are compared shard by shard, without communication, and have
        to agree in shape, placements and mesh.

        Args:
            msg: appended to the generated message, or a function that makes the message from the generated one.
            atol, rtol: absolute and relative tolerance; by default both follow from the dtype.
            equal_nan: NaN equals NaN.
            exact_dtype, exact_device, exact_layout, exact_stride, exact_is_coalesced: what tensors have to agree in.

        Raises:
            AssertionError: they differ; the message names the item where they do.
            ValueError: only one of `atol` and `rtol` is given, or a sequence cannot be read as a tensor.
            TypeError: a DTensor is compared with a plain tensor.
        """
        rules = ComparisonRules(
            rtol=rtol,
            atol=atol,
            least_rtol=self.rel_tol,
            least_atol=self.precision,
            equal_nan=equal_nan,
            dtype=exact_dtype,
            device=exact_device,
            layout=exact_layout,
            stride=exact_stride,
            is_coalesced=exact_is_coalesced,
        )
        found = differences(x, y, rules)
        if found:
            raise found[0].error(self._message(msg, report(found)))

    def _message(self, msg: str | Callable[[str], str] | None, generated: str) -> str:
        if callable(msg):
            return msg(generated)
        if msg is None:
            return generated
        return f"{generated}\n{msg}" if self.longMessage else msg

    def assertNotEqual(  # type: ignore[override]
        self,
        x: Any,
        y: Any,
        msg: str | None = None,
        *,
        atol: float | None = None,
        rtol: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Fails if `assertEqual` would pass; takes the same arguments."""
        try:
            self.assertEqual(x, y, atol=atol, rtol=rtol, **kwargs)
        except AssertionError:
            return
        raise self.failureException(self._message(msg, f"the values are equal: {x!r}"))

    def assertEqualIgnoreType(self, *args: Any, **kwargs: Any) -> None:
        """`assertEqual` with tensors of different dtypes promoted to one."""
        self.assertEqual(*args, exact_dtype=False, **kwargs)

    def assertEqualBroadcasting(self, x: torch.Tensor, y: Any, *args: Any, **kwargs: Any) -> None:
        """`assertEqual` with `y` (a number, a sequence or a tensor) read in `x`'s dtype and broadcast to its shape."""
        y = torch.as_tensor(y, dtype=x.dtype, device=x.device).expand_as(x)
        self.assertEqual(x, y, *args, **kwargs)

    def assertEqualTypeString(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Fails unless the two tensors agree in device, dtype and being sparse."""
        for attribute in ("device", "dtype", "is_sparse"):
            one, other = getattr(x, attribute), getattr(y, attribute)
            if one != other:
                self.fail(f"the tensors have different {attribute}: {one} and {other}")

    def assertObjectIn(self, obj: Any, iterable: Iterable[Any]) -> None:
        """Fails unless `obj` itself, not an equal object, is in `iterable`."""
        if not any(element is obj for element in iterable):
            self.fail(f"this very object is not in the iterable: {obj!r}")

    def assertGreaterAlmostEqual(
        self, first: Any, second: Any, places: int | None = None, msg: str | None = None, delta: Any = None
    ) -> None:
        """Fails if `first` is less than `second` by more than `delta`, or by what rounds to more than 0 at `places`
        decimal places (7 by default).

        Raises:
            TypeError: both `places` and `delta` are given.
        """
        if delta is not None and places is not None:
            raise TypeError("assertGreaterAlmostEqual takes places or delta, not both")
        if first >= second:
            return
        shortfall = second - first
        if delta is not None:
            is_close, margin = shortfall <= delta, f"{delta!r}"
        else:
            decimals = 7 if places is None else places
            is_close, margin = round(shortfall, decimals) == 0, f"{decimals} decimal places"
        if not is_close:
            self.fail(self._formatMessage(msg, f"{first!r} is less than {second!r} by {shortfall!r}, over {margin}"))

    def assertNotWarn(self, callable: Callable[[], Any], msg: str = "") -> None:
        """Fails if `callable()` warns, also where torch would warn only once."""
        with _all_warnings() as caught:
            callable()
        if caught:
            self.fail(self._formatMessage(msg or None, f"unexpected warning: {caught[0].message}"))

    @contextlib.contextmanager
    def assertWarnsOnceRegex(self, category: type[Warning], regex: str = "") -> Iterator[None]:
        """Context that fails unless the body gives a warning of exactly this category, and a warning whose text begins
        with a match of `regex`. Torch repeats here a warning that it otherwise gives once per process."""
        with _all_warnings() as caught:
            yield
        if not caught:
            self.fail("no warning was given")
        said = "; ".join(f"{type(warning.message).__name__}: {warning.message}" for warning in caught)
        if not any(type(warning.message) is category for warning in caught):
            self.fail(f"no {category.__name__} was given, but {said}")
        if not any(re.match(regex, str(warning.message)) for warning in caught):
            self.fail(f"no warning begins with {regex!r}: {said}")

    def compare_with_numpy(
        self,
        torch_fn: Callable[[torch.Tensor], torch.Tensor],
        np_fn: Callable[[Any], Any],
        tensor_like: Any,
        device: Any = None,
        dtype: torch.dtype | None = None,
        **kwargs: Any,
    ) -> None:
        """Fails unless `torch_fn` of a tensor equals `np_fn` of the same values as a numpy array.

        Args:
            tensor_like: a tensor, or numbers to be made a tensor of `dtype` on `device`.
            kwargs: arguments of `assertEqual`.
        """
        tensor = torch.as_tensor(tensor_like, device=device, dtype=dtype)
        on_cpu = tensor.detach().cpu()
        actual = torch_fn(tensor).cpu()
        if tensor.dtype == torch.bfloat16:  # which numpy does not have
            on_cpu = on_cpu.float()
            actual = actual.float() if actual.dtype == torch.bfloat16 else actual
        self.assertEqual(actual, np_fn(on_cpu.numpy()), **kwargs)


@contextlib.contextmanager
def _all_warnings() -> Iterator[list[warnings.WarningMessage]]:
    said_always = torch.is_warn_always_enabled()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.set_warn_always(True)
        try:
            yield caught
        finally:
            torch.set_warn_always(said_always)
