"""The environment that a test file's process starts with."""

from __future__ import annotations

import os

from .command import FileCommand

__all__ = ["environment_of"]


def environment_of(command: FileCommand) -> dict[str, str]:
    """The environment of every process that runs `command`: this process's own, with what the command sets."""
    environment = {**os.environ, **command.environment()}
    if command.package_folder is not None and os.environ.get("PYTHONPATH"):
        environment["PYTHONPATH"] = os.pathsep.join([command.package_folder, os.environ["PYTHONPATH"]])
    environment["PYTHONUNBUFFERED"] = "1"  # what a killed process printed last must not die in its buffer
    return environment
