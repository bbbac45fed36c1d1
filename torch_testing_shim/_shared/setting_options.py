"""The options that set settings, for test files and for run_test.py: from the table in `setting_rows`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from torch_testing_shim._shared.setting_rows import SETTINGS, Option, Setting, Settings
from torch_testing_shim._shared.values import as_argument


def add_setting_options(group: argparse._ArgumentGroup, *, in_runner: bool) -> None:
    """Adds them; `dest` is the name of the setting, and the value of an option that is not given is missing or None."""
    for name, row, option in _offered(in_runner):
        group.add_argument(*option.names, dest=name, default=None, help=option.help, **_kind(row, option))


def take_settings(given: dict[str, Any], *, in_runner: bool) -> Settings:
    """Takes what `add_setting_options` has added out of a parser's namespace.

    Returns:
        The settings of the options that were given; all others are at their defaults.
    """
    found = {name: given.pop(name, None) for name, _, _ in _offered(in_runner)}
    return Settings(**{name: value for name, value in found.items() if value is not None})


def _offered(in_runner: bool) -> Iterator[tuple[str, Setting, Option]]:
    for name, row in SETTINGS.items():
        option = row.option
        if option is not None and (option.in_runner if in_runner else option.in_files):
            yield name, row, option


def _kind(row: Setting, option: Option) -> dict[str, Any]:
    if option.metavar is None:
        return {"action": "store_true"}
    read = as_argument(row.read)
    bare: dict[str, Any] = {} if option.bare is None else {"nargs": "?", "const": read(option.bare)}
    return {"type": read, "metavar": option.metavar, **bare}
