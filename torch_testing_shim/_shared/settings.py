"""The one reader of settings, from the environment and from command lines. `setting_rows` has the table.

Nothing else in the package reads test configuration from `os.environ`. Settings are read where they are needed and
passed on; a test may change the environment and read them again. Two variables are not here
that torch's own definitions read: PYTORCH_TESTING_DEVICE_ONLY_FOR, PYTORCH_TESTING_DEVICE_EXCEPT_FOR.
"""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch_testing_shim._shared import values
from torch_testing_shim._shared.launch import Launch, is_of_launch, launch_in
from torch_testing_shim._shared.setting_rows import (
    DEFAULTS as DEFAULTS,
    SETTINGS as SETTINGS,
    Option,
    Setting,
    Settings as Settings,
)


class SettingsError(ValueError):
    """A variable of the environment has a value that the harness cannot use; the message is one sentence."""


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environ` (default: the process's environment).

    Raises:
        SettingsError: a variable has a value that cannot be used.
    """
    env = os.environ if environ is None else environ
    data = getattr(env, "_data", None)  # of `os.environ`, whose own `get` takes 20 times as long
    if data is None or os.name != "posix":
        texts = tuple(env.get(row.variable) for row in SETTINGS.values())
    else:
        texts = tuple(map(data.get, _ENCODED))
    has_paths = any(texts[number] for number in _PATHS)
    return (_settings_of.__wrapped__ if has_paths else _settings_of)(texts)


#: The variables of the settings, in order, as `os.environ` keeps them.
_ENCODED = tuple(os.fsencode(row.variable) for row in SETTINGS.values())
#: Numbers of the settings whose values depend on the working folder.
_PATHS = tuple(number for number, row in enumerate(SETTINGS.values()) if row.read is values.absolute_path)


@functools.lru_cache(maxsize=16)
def _settings_of(texts: tuple[str | bytes | None, ...]) -> Settings:
    """Return the settings, given their variables' values in the order of `SETTINGS`."""
    decoded = {name: None if text is None else os.fsdecode(text) for name, text in zip(SETTINGS, texts, strict=True)}
    settings = Settings(**{name: _read(SETTINGS[name], text) for name, text in decoded.items()})  # type: ignore[arg-type]
    if settings.is_ci and not decoded["hypothesis_profile"]:
        settings = replace(settings, hypothesis_profile="pytorch_ci")
    return settings


def _read(row: Setting, text: str | None) -> object:
    if not text:  # an empty flag is off
        return False if text == "" and isinstance(row.default, bool) else row.default
    try:
        return row.read(text)
    except values.Unusable as error:
        raise SettingsError(f"{row.variable} is {text!r}; it must be {error}") from None
    except ValueError as error:
        raise SettingsError(f"{row.variable}: {error}") from None


def as_variables(settings: Settings, *, only_repeated: bool = False) -> dict[str, str]:
    """The variables of the settings that are not at their defaults, from which `read_settings` reads them again; where
    `only_repeated`, only those that a rerun line repeats."""
    found = {
        row.variable: (getattr(settings, name), row.default)
        for name, row in SETTINGS.items()
        if row.is_repeated or not only_repeated
    }
    return {variable: values.as_text(value) for variable, (value, default) in found.items() if value != default}


def add_setting_options(group: argparse._ArgumentGroup, *, in_runner: bool) -> None:
    """Add them; `dest` is the name of the setting. An option that is not given leaves no value, or None."""
    for name, row, option in _offered(in_runner):
        group.add_argument(*option.names, dest=name, default=None, help=option.help, **_kind(row, option))


def take_settings(given: dict[str, Any], *, in_runner: bool) -> Settings:
    """Take what `add_setting_options` has added out of a parser's namespace; settings without a value are at their
    defaults."""
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
    read = values.as_argument(row.read)
    bare: dict[str, Any] = {} if option.bare is None else {"nargs": "?", "const": read(option.bare)}
    return {"type": read, "metavar": option.metavar, **bare}


def asked_to_complete() -> bool:
    """True where the shell has started this process to complete a command line (argcomplete's _ARGCOMPLETE)."""
    return "_ARGCOMPLETE" in os.environ


def runs_under_pytest() -> bool:
    """True while pytest runs a test, in this process or in one that has started it (PYTEST_CURRENT_TEST)."""
    return "PYTEST_CURRENT_TEST" in os.environ


def read_temporary_folder() -> str | None:
    """`Settings.temporary_folder` alone, for the runner, which goes on where other settings are wrong."""
    return os.environ.get("TMPDIR") or None


def read_cache_folder() -> str | None:
    """The folder of the user's caches: XDG_CACHE_HOME, or `.cache` in the home folder; None where neither is known."""
    chosen = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return chosen if os.path.isabs(chosen) else None


@dataclass(frozen=True)
class GitHubActions:
    """The step of GitHub Actions that this process is part of: the folder of the checkout (GITHUB_WORKSPACE), and the
    file that the job's summary is added to (GITHUB_STEP_SUMMARY)."""

    workspace: str | None = None
    step_summary: str | None = None


def read_github_actions(environ: Mapping[str, str] | None = None) -> GitHubActions | None:
    """Read the step from `environ` (default: the process's environment); None where GITHUB_ACTIONS is not "true", as it
    is there."""
    env = os.environ if environ is None else environ
    if env.get("GITHUB_ACTIONS") != "true":
        return None
    return GitHubActions(env.get("GITHUB_WORKSPACE") or None, env.get("GITHUB_STEP_SUMMARY") or None)


def read_launch() -> Launch | None:
    """Read how torchrun has started this process; None where it has not."""
    return launch_in(os.environ)


def take_launch() -> None:
    """Take the launch's variables away: a test file that a test starts is not one of its ranks, and a process group
    that a test makes by `env://` does not look for torchrun's store."""
    for name in [name for name in os.environ if is_of_launch(name)]:
        del os.environ[name]


@contextmanager
def changed_environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Give variables of this process's environment other values while the body runs; None takes one away. They are put
    back as they were."""
    before = {name: os.environ.get(name) for name in values}
    _set_environment(values)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
