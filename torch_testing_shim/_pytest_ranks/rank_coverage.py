"""The lines that ranks run are counted by pytest-cov: a forked rank goes on with what counts in pytest's process, and
one of a new interpreter begins anew with the same options.

A rank writes a data file of its own beside pytest-cov's, which combines them at its end.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from contextlib import suppress
from typing import Any

#: coverage's options that say which lines count, and where the files lie.
_OPTIONS = (
    "branch", "concurrency", "cover_pylib", "data_file", "include", "omit", "relative_files", "source", "source_pkgs"
)  # fmt: skip


def _current() -> Any:
    """Return what counts lines in this process; None where nothing does."""
    coverage = sys.modules.get("coverage")
    return coverage.Coverage.current() if coverage is not None else None


def coverage_options() -> dict[str, Any] | None:
    """Return the options by which a new interpreter counts the same lines; None where none are counted."""
    current = _current()
    if current is None:
        return None
    options = {f"run:{name}": current.get_option(f"run:{name}") for name in _OPTIONS}
    options["run:data_file"] = current.get_data().base_filename()
    return options


def start_coverage(options: dict[str, Any]) -> None:
    """Count lines in this process, by `coverage_options` of another."""
    coverage = importlib.import_module("coverage")  # pytest's process has it
    counting = coverage.Coverage(data_file=options["run:data_file"], data_suffix=True, config_file=False)
    for name, value in options.items():
        counting.set_option(name, value)
    counting.start()


def save_coverage() -> None:
    """Save what has been counted here: a rank ends without Python's own end."""
    with suppress(Exception), warnings.catch_warnings():  # a rank's verdict does not depend on it
        warnings.simplefilter("ignore")  # coverage's, where a rank has run nothing that counts
        if (current := _current()) is not None:
            current.save()
