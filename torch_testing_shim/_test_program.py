"""`run_tests`: what `python test_file.py ...` does."""

from __future__ import annotations

import sys
import unittest
from typing import NoReturn

__all__ = ["run_tests"]


def run_tests(argv: list[str] | None = None) -> NoReturn:
    """Runs the tests of the main module and leaves the process."""
    unittest.main(argv=argv)
    sys.exit(0)
