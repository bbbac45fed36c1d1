"""The declaration of one setting: a row of the table in `settings`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """The option of a command line that sets a setting.

    Attributes:
        names: its spellings.
        help: its line in `--help`.
        metavar: how `--help` shows its value; None for a flag.
        bare: the value where the option stands without one, or None where it needs one.
        in_files: test files have it.
        in_runner: run_test.py has it.
    """

    names: tuple[str, ...]
    help: str
    metavar: str | None = None
    bare: str | None = None
    in_files: bool = True
    in_runner: bool = True


@dataclass(frozen=True)
class Setting:
    """One row.

    Attributes:
        variable: the variable of the environment.
        read: reads its text; raises `values.Unusable` with what the text must be, or ValueError with a sentence.
        default: the value where the variable is not set.
        meaning: one phrase for docs/settings.md.
        is_repeated: a rerun line repeats it, because it may change an outcome.
        is_ours: the harness or a launcher sets it, and people do not.
        option: the option that sets it, or None.
    """

    variable: str
    read: Callable[[str], Any]
    default: Any
    meaning: str
    is_repeated: bool
    is_ours: bool
    option: Option | None


def setting(
    variable: str,
    read: Callable[[str], T],
    default: T,
    meaning: str,
    *,
    is_repeated: bool = False,
    is_ours: bool = False,
    option: Option | None = None,
) -> T:
    """Declares a field of `Settings`; see `Setting`. To mypy it is the default, which it checks with the reader."""
    row = Setting(variable, read, default, meaning, is_repeated, is_ours, option)
    declared: Any = field(default=default, metadata={"setting": row})
    return declared  # type: ignore[no-any-return]
