"""The command that runs one test file: exactly what a developer would type.

The schedule starts it in a new interpreter, or writes it down for the warm interpreter, which becomes it in a fork.
Standard library only, since the warm interpreter imports this module.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch_testing_shim._shared.main_part import BY_PYTEST, PACKAGE
from torch_testing_shim._shared.python_command import interpreter_flags

#: Marks the processes of a test file: its value is unique to the file, among all runs. Only the runner reads it, in the
#: environments of all processes.
MARK_VARIABLE = "TORCH_TESTING_SHIM_RUNNER_MARK"
#: The warm interpreter's own mark. It is as long as every other, so that a fork can write its own over it.
EMPTY_MARK = "0" * 32

#: The longest packet between the runner and the warm interpreter, in bytes.
PACKET_BYTES = 1 << 14


def own_interpreter() -> tuple[str, ...]:
    """The interpreter that runs this process, with its options."""
    flags = interpreter_flags()
    is_deaf = sys.flags.ignore_environment and "-u" not in flags  # to PYTHONUNBUFFERED, which files need
    return (sys.executable, *flags, *(["-u"] if is_deaf else []))


@dataclass(frozen=True)
class FileCommand:
    """A test file's command line, and what it sets in its environment."""

    name: str  # the file's name (see `plan.tree`)
    path: str  # the file's path
    arguments: tuple[str, ...] = ()  # the words behind the path
    #: The words in the path's place where pytest runs a part of the file: "FILE::Class::test".
    nodes: tuple[str, ...] = field(default=(), kw_only=True)
    #: None for `python FILE`; for `python -m torch_testing_shim OPTION ... FILE`, the options before FILE.
    harness: tuple[str, ...] | None = field(default=None, kw_only=True)
    #: The words that run the file under coverage.py; empty for a file that is not measured.
    measured_by: tuple[str, ...] = field(default=(), kw_only=True)
    #: The interpreter and its own options.
    interpreter: tuple[str, ...] = field(default_factory=own_interpreter, kw_only=True)
    #: Names and values that the command sets in its environment, PYTHONPATH not among them.
    variables: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    #: Folder put first on PYTHONPATH, or None to leave PYTHONPATH as it is (see `Tree`).
    package: str | None = field(default=None, kw_only=True)

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line behind the interpreter."""
        module = () if self.harness is None else ("-m", PACKAGE, *self.harness)
        return (*self.measured_by, *module, *(self.nodes or (self.path,)), *self.arguments)

    @property
    def words(self) -> tuple[str, ...]:
        """The whole command line."""
        return (*self.interpreter, *self.argv)

    @property
    def is_by_pytest(self) -> bool:
        """True where pytest runs the file's tests."""
        return BY_PYTEST in (self.harness or ())

    @property
    def names_only(self) -> FileCommand:
        """The command that tells the names of the tests in place of running them."""
        option = "--collect-only" if self.is_by_pytest else "--discover-tests"
        return replace(self, arguments=(*self.arguments, option))

    def setting(self, variables: Mapping[str, str]) -> FileCommand:
        """The command that sets more variables."""
        return replace(self, variables={**self.variables, **variables})

    def assignments(self) -> dict[str, str]:
        """The variables that the command sets; PYTHONPATH goes in front of the one that is there."""
        return {**self.variables, **({} if self.package is None else {"PYTHONPATH": self.package})}

    def __str__(self) -> str:
        """The command as it is typed in a shell."""
        assignments = [f"{name}={shlex.quote(value)}" for name, value in self.assignments().items()]
        return " ".join([*assignments, shlex.join(self.words)])


def write_command(path: Path, command: FileCommand, environment: Mapping[str, str]) -> None:
    """Write a command and the whole environment of its process, for the warm interpreter."""
    path.write_text(json.dumps({"command": asdict(command), "environment": dict(environment)}), encoding="ascii")


def read_command(path: str) -> tuple[FileCommand, dict[str, str]]:
    """Read what `write_command` has written."""
    with open(path, encoding="ascii") as stream:
        content = json.load(stream)
    fields: dict[str, Any] = content["command"]
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return FileCommand(**{**fields, **lists}), content["environment"]
