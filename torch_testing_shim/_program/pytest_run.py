"""Tests of a file run by pytest: `--use-pytest`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch_testing_shim._program.log import TestLog
from torch_testing_shim._program.options import ProgramOptions

_QUIET, _VERBOSE = 0, 2


class PytestMissing(ValueError):
    """pytest is not installed; the message is one sentence."""


def run_with_pytest(names: Sequence[str], script: str, options: ProgramOptions, log: TestLog) -> None:
    """Has pytest run tests of a file.

    Raises:
        PytestMissing: it is not installed.
        KeyboardInterrupt: the user stopped the run.
    """
    try:
        import pytest
    except ImportError:
        raise PytestMissing("--use-pytest needs pytest, which is not installed") from None
    from torch_testing_shim._program.pytest_journal import PytestJournal, ReportDetails

    selection = _Selection(names)
    journal = PytestJournal(log, selection.names)
    pytest.main([*_flags(options), script], plugins=[selection, ReportDetails(), journal])
    if journal.interrupt is not None:
        raise journal.interrupt


def _flags(options: ProgramOptions) -> list[str]:
    flags = {
        "-x": options.failfast,
        "--showlocals": options.settings.showlocals,
        "-q": options.verbosity == _QUIET,
        "-v": options.verbosity == _VERBOSE,
    }
    return [flag for flag, is_set in flags.items() if is_set]


class _Selection:
    """A pytest plugin that leaves out what unittest would not run, and what the user did not select.

    Attributes:
        names: the names of tests, by pytest's own.
    """

    def __init__(self, wanted: Sequence[str]) -> None:
        self.names: dict[str, str] = {}
        self._wanted = frozenset(wanted)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            if getattr(item, "cls", None) is not None:
                self.names[item.nodeid] = f"{item.cls.__qualname__}.{item.name}"
        items[:] = [item for item in items if self.names.get(item.nodeid) in self._wanted]
