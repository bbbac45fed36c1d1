"""Commands of new interpreters like this one: the same executable, with the same options."""

from __future__ import annotations

import os
from multiprocessing import spawn
from pathlib import Path

from torch_testing_shim._shared.interpreter_flags import interpreter_flags

__all__ = ["interpreter_command", "program_with_package"]

_PACKAGE_HOME = str(Path(__file__).parents[2])


def interpreter_command() -> list[str]:
    """The command that runs a program, which is to be its next argument."""
    return [os.fsdecode(spawn.get_executable()), *interpreter_flags(), "-c"]


def program_with_package(program: str) -> str:
    """A program that can import this package, from wherever that is."""
    return f"import sys\nsys.path.insert(0, {_PACKAGE_HOME!r})\n{program}"
