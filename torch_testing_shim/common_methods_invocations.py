"""Upstream's `common_methods_invocations`: `op_db` describes every operator of PyTorch's build, so it only says so.

`DecorateInfo` is real: it says which tests of an operator a decorator is for, and files that build their own lists of
operators use it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

from torch_testing_shim._absent_names import AbsentName

__all__ = ["DecorateInfo", "op_db"]

op_db = AbsentName(f"{__name__}.op_db", "describes the operators of that build and their inputs")

Condition = bool | Callable[[Mapping[str, Any]], bool]


class DecorateInfo:
    """Which tests of an operator are to be decorated (upstream's `DecorateInfo`, torch 2.13). What is None fits all.

    Args:
        decorators: the decorator, or a sequence of them.
        cls_name, test_name: names of the test class and the test, without device and dtype.
        device_type: the device that the test is for.
        dtypes: dtypes of which the test's is one.
        active_if: whether at all; or a function of the test's arguments that says so.

    Raises:
        AssertionError: there is something else than a dtype in `dtypes`.
    """

    __slots__ = ("active_if", "cls_name", "decorators", "device_type", "dtypes", "test_name")

    def __init__(
        self,
        decorators: Any,
        cls_name: str | None = None,
        test_name: str | None = None,
        *,
        device_type: str | None = None,
        dtypes: Collection[torch.dtype] | None = None,
        active_if: Condition = True,
    ) -> None:
        for dtype in dtypes or ():
            if not isinstance(dtype, torch.dtype):
                raise AssertionError(f"dtypes are wanted, not {dtype!r}")
        self.decorators = list(decorators) if isinstance(decorators, Sequence) else [decorators]
        self.cls_name, self.test_name, self.device_type = cls_name, test_name, device_type
        self.dtypes, self.active_if = dtypes, active_if

    def is_active(
        self,
        cls_name: str | None,
        test_name: str | None,
        device_type: str | None,
        dtype: torch.dtype | None,
        param_kwargs: Mapping[str, Any],
    ) -> bool:
        """True where the decorators are for the test of these names, device, dtype and arguments."""
        wanted = (self.cls_name, self.test_name, self.device_type)
        if any(own not in (None, given) for own, given in zip(wanted, (cls_name, test_name, device_type), strict=True)):
            return False
        if self.dtypes is not None and dtype not in self.dtypes:
            return False
        return self.active_if(param_kwargs) if callable(self.active_if) else self.active_if
