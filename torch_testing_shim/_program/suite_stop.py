"""Ends a run before its last test, where a test says that no other can run in this process."""

from __future__ import annotations

import sys
import unittest
from typing import Any

from torch_testing_shim._program.chosen_tests import test_name

__all__ = ["stop_suite"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def stop_suite(test: unittest.TestCase, result: Any) -> None:
    """Has no test run after `test`. `result` is what it ran with: unittest's, or pytest's own for one test."""
    reason = f"no other test can run in this process after {test_name(test)}, as its _should_stop_test_suite says"
    print(f"torch_testing_shim: {reason}", file=sys.__stderr__ or sys.stderr, flush=True)
    session = getattr(result, "session", None)
    if session is not None:
        session.shouldstop = reason
    elif result is not None:
        result.stop()
