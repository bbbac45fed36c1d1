"""The command that runs one test file: exactly what a developer would type. Pure."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from .discovery import test_path
from .options import Options
from .selection import FileSelection

__all__ = ["FileCommand", "build_command"]


@dataclass(frozen=True)
class FileCommand:
    """A test file's command line.

    Attributes:
        name: the file's name, see `discovery`.
        arguments: interpreter, path and arguments.
        device: value for TORCH_TESTING_SHIM_DEVICE, or None to leave it as it is.
        package_folder: folder put first on PYTHONPATH, so that the file imports the same torch_testing_shim as the
            runner that lies beside it, or None to leave PYTHONPATH as it is.
    """

    name: str
    arguments: tuple[str, ...]
    device: str | None = None
    package_folder: str | None = None

    def environment(self) -> dict[str, str]:
        """The variables that the command sets; PYTHONPATH is to be put in front of what is there."""
        variables = {"TORCH_TESTING_SHIM_DEVICE": self.device, "PYTHONPATH": self.package_folder}
        return {name: value for name, value in variables.items() if value is not None}

    def __str__(self) -> str:
        """The command as it is typed in a shell."""
        assignments = [f"{name}={shlex.quote(value)}" for name, value in self.environment().items()]
        return " ".join([*assignments, shlex.join(self.arguments)])


def build_command(selection: FileSelection, options: Options, root: Path) -> FileCommand:
    """The command for `selection`, of the tree whose run_test.py lies in `root`."""
    patterns = [argument for pattern in options.keywords for argument in ("-k", pattern)]
    flags = {"-v": options.verbose, "--showlocals": options.showlocals, "--strict-leaks": options.strict_leaks}
    set_flags = [flag for flag, is_set in flags.items() if is_set]
    path = test_path(root / "test", selection.name)
    return FileCommand(
        name=selection.name,
        arguments=(sys.executable, str(path), *selection.tests, *patterns, *set_flags, *options.file_arguments),
        device=options.device,
        package_folder=str(root) if (root / "torch_testing_shim").is_dir() else None,
    )
