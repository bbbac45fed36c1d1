"""From a selection to the command that runs it."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from torch_testing_shim._shared.main_part import BY_PYTEST, read_main_part
from torch_testing_shim._shared.node_ids import node_id
from torch_testing_shim._shared.settings import as_variables

from ..cli.options import Options
from ..plan.selection import FileSelection
from ..plan.tree import Tree
from .command import FileCommand
from .coverage_run import coverage_arguments


def build_command(selection: FileSelection, options: Options, tree: Tree) -> FileCommand:
    """The command for `selection`."""
    path = tree.path(selection.name)
    is_pytests = bool(tree.upstream) and _is_for_pytest(path)
    return FileCommand(
        name=selection.name,
        path=str(path),
        nodes=tuple(node_id(str(path), test) for test in selection.tests) if is_pytests else (),
        harness=_harness_options(options, is_pytests=is_pytests) if tree.upstream else None,
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
def _is_for_pytest(path: Path) -> bool:
    """True for a file whose tests pytest has to run, by its source; a file that cannot be read fails when it runs."""
    try:
        return not read_main_part(path.read_bytes()).is_for_harness
    except OSError:
        return False


def _harness_options(options: Options, *, is_pytests: bool) -> tuple[str, ...]:
    devices = options.map_device
    return (*(["--map-device", str(devices)] if devices is not None else []), *([BY_PYTEST] if is_pytests else []))


def _repeated(option: str, values: Iterable[str]) -> list[str]:
    return [argument for value in values for argument in (option, value)]
