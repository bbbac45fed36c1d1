"""The line that a failure ends with: the command that runs exactly this test again, in any shell.

A test of the package's own `TestCase` reports such a line itself, and the runner adds it where there is none: to
crashes, to what ran into a limit, and to failures of other test cases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch_testing_shim._shared.journal import JournalEntry
from torch_testing_shim._shared.rerun_command import RERUN_HEADING, settings_as_assignments
from torch_testing_shim._shared.settings import SettingsError, read_settings

from ..plan.selection import FileSelection
from ..result import DID_NOT_RUN, Failure, FileResult
from .command import FileCommand
from .retry import what_to_run

__all__ = ["RerunLines", "rerun_line"]


def rerun_line(command: FileCommand) -> str:
    """The command with what the runner's own environment says about tests, since another shell may not."""
    try:
        said = tuple(settings_as_assignments(read_settings()))
    except SettingsError:  # each file says so, and that is its failure
        said = ()
    own = command.environment()
    return " ".join([*(one for one in said if one.partition("=")[0] not in own), str(command)])


@dataclass(frozen=True)
class RerunLines:
    """Puts the line into the reports of one file's failures.

    Attributes:
        file: the file's name.
        command_for: the command that runs a selection.
    """

    file: str
    command_for: Callable[[FileSelection], FileCommand]

    def in_result(self, result: FileResult) -> FileResult:
        """The result with a line in each failure's report."""
        entries = tuple(map(self.in_entry, result.entries))
        return replace(result, entries=entries, faults=tuple(map(self._in_fault, result.faults)))

    def in_entry(self, entry: JournalEntry) -> JournalEntry:
        """The same for one test, for failures that are shown as they happen."""
        return replace(entry, detail=self._in_detail(entry.detail, entry.test)) if entry.status.is_failure else entry

    def _in_fault(self, fault: Failure) -> Failure:
        return fault if fault.label == DID_NOT_RUN else replace(fault, detail=self._in_detail(fault.detail, fault.test))

    def _in_detail(self, detail: str, test: str) -> str:
        if RERUN_HEADING in detail:
            return detail
        selection = FileSelection(self.file, what_to_run(test) if test else ())
        line = rerun_line(self.command_for(selection))
        return f"{detail.rstrip()}\n\n{RERUN_HEADING}\n    {line}\n".lstrip("\n")
