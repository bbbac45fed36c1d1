"""From a selection to the command that runs it, and from a failure to the line that runs exactly this test again.

A test of the package's own `TestCase` reports such a line itself. The runner adds it where there is none: to crashes,
to tests that ran into a limit, and to failures of other test cases.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from torch_testing_shim._shared.journal import JournalEntry
from torch_testing_shim._shared.main_part import BY_PYTEST, read_main_part
from torch_testing_shim._shared.node_ids import node_id
from torch_testing_shim._shared.rerun_command import RERUN_HEADING, settings_as_assignments
from torch_testing_shim._shared.settings import SettingsError, as_variables, read_settings

from ..cli.options import Options
from ..plan.selection import FileSelection
from ..plan.tree import Tree
from ..result import DID_NOT_RUN, Failure, FileResult
from .command import FileCommand
from .coverage_run import coverage_arguments
from .retry import what_to_run


def build_command(selection: FileSelection, options: Options, tree: Tree) -> FileCommand:
    """The command for `selection`."""
    path = tree.path(selection.name)
    is_pytests = _is_for_pytest(path, is_upstreams=bool(tree.upstream))
    return FileCommand(
        name=selection.name,
        path=str(path),
        nodes=tuple(node_id(str(path), test) for test in selection.tests) if is_pytests else (),
        harness=_harness_options(options, is_pytests=is_pytests) if tree.upstream or is_pytests else None,
        measured_by=coverage_arguments(tree.reports) if options.coverage else (),
        arguments=(
            *(() if is_pytests else selection.tests),
            *_repeated("--exclude-test", selection.excluded),
            *_repeated("--matching" if is_pytests else "-k", options.keywords),
            *(f"--hw-classification={name}" for name in options.hw_classification),
            *(["-v"] if options.verbose else []),
            *(["--showlocals" if is_pytests else "--locals"] if options.showlocals else []),
            *options.file_arguments,
        ),
        variables=as_variables(options.settings),
        package=None if tree.package is None else str(tree.package),
    )


@functools.cache
def _is_for_pytest(path: Path, *, is_upstreams: bool) -> bool:
    """True for a file whose tests pytest has to run, by its source; a file that cannot be read fails when it runs. A
    file of the tree's own without a test may be a script."""
    try:
        part = read_main_part(path.read_bytes())
    except OSError:
        return False
    return not part.is_for_harness and (is_upstreams or part.has_tests)


def _harness_options(options: Options, *, is_pytests: bool) -> tuple[str, ...]:
    devices = options.map_device
    return (*(["--map-device", str(devices)] if devices is not None else []), *([BY_PYTEST] if is_pytests else []))


def _repeated(option: str, values: Iterable[str]) -> list[str]:
    return [argument for value in values for argument in (option, value)]


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
    """Puts the line into the reports of failures."""

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
