"""The line that a failure ends with: the command that runs exactly this test again, in any shell.

A test of the package's own `TestCase` reports such a line itself, and the runner adds it where there is none: to
crashes, to what ran into a limit, and to failures of other test cases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch_testing_shim._repro import RERUN_HEADING, settings_as_assignments
from torch_testing_shim._settings import SettingsError, read_settings

from .command import FileCommand
from .result import DID_NOT_RUN, Failure, FileResult
from .retry import what_to_run
from .selection import FileSelection

__all__ = ["rerun_line", "with_rerun_lines"]


def rerun_line(command: FileCommand) -> str:
    """The command with what the runner's own environment says about tests, since another shell may not."""
    try:
        said = tuple(settings_as_assignments(read_settings()))
    except SettingsError:  # each file says so, and that is its failure
        said = ()
    own = command.environment()
    return " ".join([*(one for one in said if one.partition("=")[0] not in own), str(command)])


def with_rerun_lines(result: FileResult, command_for: Callable[[FileSelection], FileCommand]) -> FileResult:
    """The result with a line in each failure's report."""

    def line(test: str) -> str:
        selection = FileSelection(result.file, what_to_run(test) if test else ())
        return rerun_line(command_for(selection))

    def extended(detail: str, test: str) -> str:
        if RERUN_HEADING in detail:
            return detail
        return f"{detail.rstrip()}\n\n{RERUN_HEADING}\n    {line(test)}\n".lstrip("\n")

    def extended_fault(fault: Failure) -> Failure:
        return fault if fault.label == DID_NOT_RUN else replace(fault, detail=extended(fault.detail, fault.test))

    return replace(
        result,
        entries=tuple(
            replace(entry, detail=extended(entry.detail, entry.test)) if entry.status.is_failure else entry
            for entry in result.entries
        ),
        faults=tuple(map(extended_fault, result.faults)),
    )
