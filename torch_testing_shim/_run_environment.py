"""What a run of a test file puts into the environment: options that child processes, ranks among them, have to know."""

from __future__ import annotations

import os
from pathlib import Path

import expecttest

from torch_testing_shim._program_options import ProgramOptions

__all__ = ["child_environment", "export"]


def export(options: ProgramOptions) -> None:
    """Puts options into this process's environment, where settings are read and whence child processes inherit them."""
    if options.slow_tests_file is not None:
        os.environ["SLOW_TESTS_FILE"] = os.path.abspath(options.slow_tests_file)
    if options.disabled_tests_file is not None:
        os.environ["DISABLED_TESTS_FILE"] = os.path.abspath(options.disabled_tests_file)
    if options.accept:
        os.environ["EXPECTTEST_ACCEPT"] = "1"
        expecttest.ACCEPT = "1"  # what expecttest has read from the environment when it was imported


def child_environment(journal: Path) -> dict[str, str]:
    """The environment of a child process that writes a journal of its own."""
    return {**os.environ, "TORCH_TESTING_SHIM_JOURNAL": str(journal)}
