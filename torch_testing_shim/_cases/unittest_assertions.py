"""The assertions of unittest that upstream's `TestCase` changes: whose logs are read, and which exceptions count.

Each keeps the name, signature and meaning of upstream's method (torch 2.13).
"""

from __future__ import annotations

import logging
import unittest
from typing import Any

from torch_testing_shim._upstream.graft import grafted

__unittest = True  # unittest and pytest leave the frames of this module out of a report

_COMMON_UTILS = "torch_testing_shim.common_utils"


class UnittestAssertions(unittest.TestCase):
    """`assertLogs`, `assertRaises` and their relatives.

    Attributes:
        _ignore_not_implemented_error: skip a test that raises NotImplementedError, as an operator does that the device
            lacks; upstream's name, which test classes set.
    """

    _ignore_not_implemented_error = False

    def __init__(self, method_name: str = "runTest") -> None:
        super().__init__(method_name)
        if self._ignore_not_implemented_error and hasattr(self, method_name):
            skips = grafted(_COMMON_UTILS, "skip_exception_type")
            torchs: Any = self  # the method below is one that `TestCase` has from torch
            torchs.wrap_with_policy(method_name, lambda: skips(NotImplementedError))

    def assertLogs(self, logger: Any = None, level: Any = None) -> Any:
        """unittest's, for torch's logger where none is named."""
        return super().assertLogs(logging.getLogger("torch") if logger is None else logger, level)

    def assertNoLogs(self, logger: Any = None, level: Any = None) -> Any:
        """unittest's, for torch's logger where none is named."""
        return super().assertNoLogs(logging.getLogger("torch") if logger is None else logger, level)

    def assertRaises(self, expected_exception: Any, *args: Any, **kwargs: Any) -> Any:
        """unittest's; see `_ignore_not_implemented_error`."""
        if self._ignore_not_implemented_error:
            return self._lenient_context(expected_exception).handle("assertRaises", args, kwargs)
        return super().assertRaises(expected_exception, *args, **kwargs)

    def assertRaisesRegex(self, expected_exception: Any, expected_regex: Any, *args: Any, **kwargs: Any) -> Any:
        """unittest's; see `_ignore_not_implemented_error`. On a device whose messages torch's developers do not write,
        any message is accepted."""
        device_type = getattr(self, "device_type", None)
        if device_type not in (None, "mps") and device_type not in grafted(_COMMON_UTILS, "NATIVE_DEVICES"):
            expected_regex = ""
        if self._ignore_not_implemented_error:
            context = self._lenient_context(expected_exception, expected_regex)
            return context.handle("assertRaisesRegex", args, kwargs)
        return super().assertRaisesRegex(expected_exception, expected_regex, *args, **kwargs)

    def _lenient_context(self, expected_exception: Any, *expected_regex: Any) -> Any:
        context = grafted(_COMMON_UTILS, "AssertRaisesContextIgnoreNotImplementedError")
        return context(expected_exception, self, *expected_regex)
