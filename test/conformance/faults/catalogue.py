"""All faults, read off the modules of `cases`."""

from __future__ import annotations

import importlib
import unittest
from collections.abc import Iterator

from faults.cases import NETWORK, THEMES
from faults.fault import Fault


def catalogue() -> tuple[Fault, ...]:
    """The faults in the order of the table. Imports torch."""
    return tuple(fault for theme in THEMES for fault in _faults_of(theme))


def network_faults() -> tuple[Fault, ...]:
    """The faults of networks, which need ranks on several hosts."""
    return tuple(_faults_of(NETWORK))


def _faults_of(theme: str) -> Iterator[Fault]:
    module = importlib.import_module(f"faults.cases.{theme}")
    for found in vars(module).values():
        if isinstance(found, type) and issubclass(found, unittest.TestCase) and found.__module__ == module.__name__:
            for name, member in vars(found).items():
                if hasattr(member, "expected"):
                    test = f"{found.__name__}.{name}"
                    yield Fault(theme, test, (member.__doc__ or "").strip(), member.expected)
