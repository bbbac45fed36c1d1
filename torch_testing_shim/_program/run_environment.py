"""What a run of a test file puts into the environment: options that child processes, ranks among them, have to know."""

from __future__ import annotations

import os
from pathlib import Path

import expecttest

from torch_testing_shim._program.file_options import ProgramOptions
from torch_testing_shim._shared.journal import Journal
from torch_testing_shim._shared.settings import Settings, as_variables

__all__ = ["child_environment", "export", "take_expectations", "take_journal"]


def export(options: ProgramOptions) -> None:
    """Puts options into this process's environment, where settings are read and whence child processes inherit them."""
    os.environ.update(as_variables(options.settings))
    if options.accept:
        os.environ["EXPECTTEST_ACCEPT"] = "1"
        expecttest.ACCEPT = "1"  # what expecttest has read from the environment when it was imported


def take_journal(settings: Settings) -> Journal | None:
    """The journal of this run, None where it keeps none. The variable that names it is taken out of the environment:
    another test file that a test starts must not write into this run's journal."""
    os.environ.pop("TORCH_TESTING_SHIM_JOURNAL", None)
    return Journal(os.path.abspath(settings.journal)) if settings.journal is not None else None


def take_expectations(settings: Settings) -> Path | None:
    """The file that says which tests of this run are to be skipped, None where there is none. The variable goes for the
    same reason as that of the journal."""
    os.environ.pop("TORCH_TESTING_SHIM_EXPECTATIONS", None)
    return Path(settings.expectations) if settings.expectations is not None else None


def child_environment(journal: Path) -> dict[str, str]:
    """The environment of a child process that writes a journal of its own."""
    return {**os.environ, "TORCH_TESTING_SHIM_JOURNAL": str(journal)}
