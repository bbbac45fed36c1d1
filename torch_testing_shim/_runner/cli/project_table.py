"""The table `[tool.torch_testing_shim]` of a project's pyproject.toml: options that hold for each run.

    [tool.torch_testing_shim]
    root = "tests"                      # the folder that names of test files start at
    patterns = ["test_*.py"]            # how test files are called
    exclude-folders = ["data", "*/old"] # folders below the root that hold none
    jobs = "auto"
    timeout = 600

A key is the name of a long option; the command line wins over the table. Paths start at the folder of the file.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..usage_error import UsageError, extra_for, refusal
from .option_rows import as_path
from .options import Options
from .parser import make_parser

FILE = "pyproject.toml"
TABLE = "torch_testing_shim"
#: The fields whose options are about one run, so that no table has them.
OF_ONE_RUN = {
    *("help", "notes", "names", "include", "list_names", "dry_run", "shard", "last_failed", "failed_from"),
    *("first", "last", "upstream", "map_device", "report_surface", "update_expectations", "import_disabled_tests"),
    *("platforms", "merge_times", "merge_reports"),
}
#: The fields that hold a path as text.
TEXT_PATHS = {"save_xml"}


def read_table(project: Path) -> dict[str, Any]:
    """The values of the table in a project's pyproject.toml, by the fields of `Options`; none without a table."""
    path = project / FILE
    table = _table_of(path)
    if not table:
        return {}
    values: dict[str, Any] = {}
    actions = {name: action for action in make_parser()._actions for name in _keys(action)}
    for key, value in table.items():
        where = f"{str(path)!r}: [tool.{TABLE}] {key}"
        if key not in actions:
            near = difflib.get_close_matches(key, actions, 1)
            raise UsageError(f"{where} is not an option{f'; did you mean {near[0]}?' if near else ''}")
        try:
            values[actions[key].dest] = _from(project, _value(actions[key], value), actions[key])
        except (_Wrong, argparse.ArgumentTypeError) as error:
            raise UsageError(f"{where}: {error}") from None
    return values


def _keys(action: argparse.Action) -> list[str]:
    if action.help == argparse.SUPPRESS or action.dest in OF_ONE_RUN:
        return []
    return [name[2:] for name in action.option_strings if name.startswith("--") and not name.startswith("--no-")]


class _Wrong(ValueError):
    """A value of the wrong type; the message says what it must be."""


def _table_of(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        return {}
    with refusal(f"read {str(path)!r}"):
        text = path.read_text(encoding="utf-8")
    if TABLE not in text:
        return {}
    try:
        table: object = toml_of(text).get("tool", {}).get(TABLE, {})
    except UsageError:  # no reader is installed
        raise
    except (ValueError, AttributeError) as error:
        raise UsageError(f"cannot read {str(path)!r}: {error}") from error
    if not isinstance(table, Mapping):
        raise UsageError(f"{str(path)!r}: tool.{TABLE} must be a table, not {_shown(table)}")
    return table


def toml_of(text: str) -> Any:
    """The tables of a TOML text, by Python's own reader or, in Python 3.10, which has none, by the extra `runner`.

    Raises:
        ValueError: it is not TOML; the message names the line.
    """
    try:
        import tomllib
    except ModuleNotFoundError:
        with extra_for(f"reading {FILE} needs"):
            import tomlkit
        return tomlkit.parse(text).unwrap()
    return tomllib.loads(text)


def _value(action: argparse.Action, value: object) -> object:
    """The value that the option would have with `value` on the command line.

    Raises:
        _Wrong: it has another type.
        argparse.ArgumentTypeError: it is refused.
    """
    if isinstance(action, argparse._CountAction):
        if type(value) is not int or value < 0:
            raise _Wrong(f"must be a whole number from 0, not {_shown(value)}")
        return value
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise _Wrong(f"must be true or false, not {_shown(value)}")
        return not isinstance(action, argparse._StoreFalseAction) if value else _default(action)
    if action.nargs in ("+", "*"):
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise _Wrong(f"must be a list of strings, not {_shown(value)}")
        return [_one(action, one) for one in value]
    if action.nargs == "?" and isinstance(value, bool):
        return action.const if value else _default(action)
    return _one(action, value)


def _default(action: argparse.Action) -> object:
    """The value of an option that is not given; None for one of a setting."""
    return getattr(Options(), action.dest, None)


def _one(action: argparse.Action, value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _Wrong(f"must be a string or a number, not {_shown(value)}")
    read: Any = action.type or str
    found: object = read(str(value))
    if action.choices is not None and found not in action.choices:
        raise _Wrong(f"must be one of {', '.join(map(str, action.choices))}, not {_shown(value)}")
    return found


def _from(project: Path, value: object, action: argparse.Action) -> object:
    """A value with its paths below the project's folder."""
    if isinstance(value, list):
        return [_from(project, one, action) for one in value]
    if action.type is as_path and isinstance(value, Path):
        return project / value
    return os.path.join(project, value) if action.dest in TEXT_PATHS and isinstance(value, str) and value else value


def _shown(value: object) -> str:
    return json.dumps(value, default=str)
