"""The line that a failure ends with: the command that runs exactly this test again, in any shell.

A test of the package's own `TestCase` reports such a line itself. The runner adds it where there is none: to crashes,
to tests that ran into a limit, and to failures of other test cases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch_testing_shim._shared.journal import JournalEntry
from torch_testing_shim._shared.rerun_command import RERUN_HEADING, settings_as_assignments
from torch_testing_shim._shared.settings import SettingsError, read_settings

from ..cli.options import Options
from ..plan.selection import FileSelection
from ..plan.tree import Tree
from ..result import DID_NOT_RUN, Failure, FileResult
from .build_command import build_command
from .command import FileCommand
from .retry import what_to_run


def rerun_line(command: FileCommand) -> str:
    """The command with the settings of the runner's own environment, since another shell may not have them."""
    try:
        settings = tuple(settings_as_assignments(read_settings()))
    except SettingsError:  # each file says so, and that is its failure
        settings = ()
    own = command.assignments()
    return " ".join([*(one for one in settings if one.partition("=")[0] not in own), str(command)])


@dataclass(frozen=True)
class RerunLines:
    """Puts the line into the reports of failures.

    Attributes:
        options: the command line.
        tree: the tree that the files lie in.
    """

    options: Options
    tree: Tree

    def in_result(self, result: FileResult) -> FileResult:
        """The result with a line in each failure's report."""
        entries = tuple(self.in_entry(entry, result.file) for entry in result.entries)
        return replace(result, entries=entries, faults=tuple(map(self._in_fault, result.faults)))

    def in_entry(self, entry: JournalEntry, file: str) -> JournalEntry:
        """The entry of a test of `file` with its line, where it is a failure."""
        if not entry.status.is_failure:
            return entry
        return replace(entry, detail=self._in_detail(entry.detail, file, entry.test))

    def _in_fault(self, fault: Failure) -> Failure:
        if fault.label == DID_NOT_RUN:
            return fault
        return replace(fault, detail=self._in_detail(fault.detail, fault.file, fault.test))

    def _in_detail(self, detail: str, file: str, test: str) -> str:
        if RERUN_HEADING in detail:
            return detail
        selection = FileSelection(file, what_to_run(test) if test else ())
        line = rerun_line(build_command(selection, self.options, self.tree))
        return f"{detail.rstrip()}\n\n{RERUN_HEADING}\n    {line}\n".lstrip("\n")
