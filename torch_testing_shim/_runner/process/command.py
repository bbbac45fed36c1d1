"""The command that runs one test file: exactly what a developer would type. Pure, but for a look into files of
PyTorch's, some of which pytest runs."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch_testing_shim._shared.interpreter_flags import interpreter_flags
from torch_testing_shim._shared.main_part import BY_PYTEST
from torch_testing_shim._shared.node_ids import node_id
from torch_testing_shim._shared.settings import as_variables

from ..cli.options import Options
from ..plan.discovery import test_path
from ..plan.selection import FileSelection
from ..plan.upstream_files import is_for_pytest, tests_folder
from .coverage_run import coverage_arguments

__all__ = ["FileCommand", "build_command", "own_interpreter"]


def own_interpreter() -> tuple[str, ...]:
    """The interpreter that runs this process, with its options."""
    flags = interpreter_flags()
    is_deaf = sys.flags.ignore_environment and "-u" not in flags  # to PYTHONUNBUFFERED, which files are to have
    return (sys.executable, *flags, *(["-u"] if is_deaf else []))


@dataclass(frozen=True)
class FileCommand:
    """A test file's command line.

    Attributes:
        name: the file's name, see `discovery`.
        path: the file's path.
        arguments: what stands behind the path.
        nodes: what stands in the path's place where pytest runs a part of the file: "FILE::Class::test".
        launcher: what stands between interpreter and path: "-m" with a module that runs the file, and its options.
        interpreter: the interpreter and its own options.
        variables: names and values of what the command sets in its environment, PYTHONPATH not among them.
        package_folder: folder put first on PYTHONPATH, so that the file imports the same torch_testing_shim as the
            runner that lies beside it, or None to leave PYTHONPATH as it is.
    """

    name: str
    path: str
    arguments: tuple[str, ...] = ()
    nodes: tuple[str, ...] = field(default=(), kw_only=True)
    launcher: tuple[str, ...] = ()
    interpreter: tuple[str, ...] = field(default_factory=own_interpreter)
    variables: tuple[tuple[str, str], ...] = ()
    package_folder: str | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The whole command line."""
        return (*self.interpreter, *self.launcher, *(self.nodes or (self.path,)), *self.arguments)

    @property
    def names_only(self) -> FileCommand:
        """The command that tells the names of the tests in place of running them."""
        option = "--collect-only" if BY_PYTEST in self.launcher else "--discover-tests"
        return replace(self, arguments=(*self.arguments, option))

    def environment(self) -> dict[str, str]:
        """The variables that the command sets; PYTHONPATH is to be put in front of what is there."""
        package = {} if self.package_folder is None else {"PYTHONPATH": self.package_folder}
        return {**dict(self.variables), **package}

    def __str__(self) -> str:
        """The command as it is typed in a shell."""
        assignments = [f"{name}={shlex.quote(value)}" for name, value in self.environment().items()]
        return " ".join([*assignments, shlex.join(self.words)])


def build_command(selection: FileSelection, options: Options, root: Path) -> FileCommand:
    """The command for `selection`, of the tree whose run_test.py lies in `root`."""
    path = str(test_path(tests_folder(root, options.upstream), selection.name))
    is_pytests = bool(options.upstream) and is_for_pytest(path)
    return FileCommand(
        name=selection.name,
        path=path,
        nodes=tuple(node_id(path, test) for test in selection.tests) if is_pytests else (),
        launcher=(
            *(coverage_arguments(root) if options.coverage else ()),
            *_harness_arguments(options),
            *([BY_PYTEST] if is_pytests else []),
        ),
        arguments=(
            *(() if is_pytests else selection.tests),
            *_repeated("--exclude-test", selection.excluded),
            *_repeated("--matching" if is_pytests else "-k", options.keywords),
            *(f"--hw-classification={name}" for name in options.hw_classification),
            *(["-v"] if options.verbose else []),
            *(["--showlocals" if is_pytests else "--locals"] if options.showlocals else []),
            *options.file_arguments,
        ),
        variables=tuple(as_variables(options.settings).items()),
        package_folder=str(root) if (root / "torch_testing_shim").is_dir() else None,
    )


def _harness_arguments(options: Options) -> list[str]:
    """What serves PyTorch's own files; other files import the package by themselves."""
    if not options.upstream:
        return []
    devices = options.map_device
    return ["-m", "torch_testing_shim", *(["--map-device", str(devices)] if devices is not None else [])]


def _repeated(option: str, values: tuple[str, ...]) -> list[str]:
    return [argument for value in values for argument in (option, value)]
