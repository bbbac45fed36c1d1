"""`assertEqual` and `assertNotEqual` of tensors, with the names, signatures and meaning of upstream's (torch 2.13).

The other assertions that upstream's `TestCase` has are torch's own, on these (see `_upstream.class_rest`).
"""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

from torch_testing_shim._assertions.comparison import ComparisonRules, differences, report

__unittest = True  # unittest and pytest leave the frames of this module out of a report


class TensorAssertions(unittest.TestCase):
    """`assertEqual` for tensors and all that holds them.

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
        """Fail unless `x` (actual) equals `y` (expected).

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
        """Fail if `assertEqual` would pass; it takes the same arguments."""
        try:
            self.assertEqual(x, y, atol=atol, rtol=rtol, **kwargs)
        except AssertionError:
            return
        raise self.failureException(self._message(msg, f"the values are equal: {x!r}"))
